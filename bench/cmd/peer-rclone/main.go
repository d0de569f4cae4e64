// SPDX-License-Identifier: Apache-2.0

// Command peer-rclone encrypts or decrypts one file with rclone's crypt backend.
package main

import (
	"claviger/bench/peers"
	"claviger/bench/peers/rclone"
)

func main() { peers.Main([]peers.Peer{rclone.Peer}) }
