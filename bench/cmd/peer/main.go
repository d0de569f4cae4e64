// SPDX-License-Identifier: Apache-2.0

// Command peer encrypts or decrypts one file with a library other than ours: a
// process that does nothing else, to be measured from outside.
package main

import (
	"fmt"
	"os"

	"claviger/bench/peers"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("usage: peer NAME encrypt|decrypt IN OUT")
	}
	p, err := peers.Find(args[0])
	if err != nil {
		return err
	}
	switch args[1] {
	case "encrypt":
		return peers.File(p.Encrypt, args[3], args[2])
	case "decrypt":
		return peers.File(p.Decrypt, args[3], args[2])
	}
	return fmt.Errorf("neither encrypt nor decrypt: %q", args[1])
}
