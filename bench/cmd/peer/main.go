// SPDX-License-Identifier: Apache-2.0

// Command peer encrypts or decrypts one file with a library other than ours: a
// process that does nothing else, to be measured from outside.
package main

import "claviger/bench/peers"

func main() { peers.Main(peers.All) }
