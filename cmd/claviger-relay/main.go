// SPDX-License-Identifier: Apache-2.0

// Command claviger-relay carries sealed messages and holds no key; see
// internal/relay/relaycmd.
package main

import (
	"context"
	"os"

	"claviger/internal/relay/relaycmd"
)

func main() { os.Exit(relaycmd.Main(context.Background(), os.Args[1:], relaycmd.System())) }
