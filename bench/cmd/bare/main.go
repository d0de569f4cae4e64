// SPDX-License-Identifier: Apache-2.0

// Command bare serves what package bare describes, with a certificate from files,
// and prints its address once it listens.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"

	"claviger/bench/bare"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run() error {
	address := flag.String("listen", "127.0.0.1:0", "address")
	cert := flag.String("cert", "", "certificate (PEM)")
	key := flag.String("key", "", "its key (PEM)")
	ca := flag.String("client-ca", "", "whose client certificates are accepted (PEM; default: any)")
	flag.Parse()
	config, err := bare.Config(*cert, *key, *ca)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return bare.Serve(ctx, l, config)
}
