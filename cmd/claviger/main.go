// SPDX-License-Identifier: Apache-2.0

// Command claviger is every role of Claviger in one program; see internal/cli.
package main

import (
	"context"
	"os"

	"claviger/internal/cli"
)

func main() { os.Exit(cli.Main(context.Background(), os.Args[1:], cli.System())) }
