// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"claviger/client"
	"claviger/envelope"
)

// A service opens its profile once and keeps one Client.
func Example() {
	ctx := context.Background()
	p, err := client.OpenProfile("/etc/claviger/payments")
	if err != nil {
		log.Print(err)
		return
	}
	c, err := client.Dial(ctx, p, client.Options{Reason: "card service"})
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()

	// The context binds the value to its row: no other row can show it.
	row := []byte("cards/4711")
	sealed, err := c.Encrypt(ctx, "payments/cards", []byte("4111 1111 1111 1111"), client.EncryptOptions{Context: row})
	if err != nil {
		log.Print(err)
		return
	}
	card, _, err := c.Decrypt(ctx, sealed, client.DecryptOptions{Keys: []string{"payments/cards"}, Context: row})
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Printf("%d bytes\n", len(card))
}

// An invite works once and makes the profile.
func ExampleEnroll() {
	invite, err := os.ReadFile("invite")
	if err != nil {
		log.Print(err)
		return
	}
	p, err := client.Enroll(context.Background(), "/etc/claviger/payments", string(invite), client.EnrollOptions{})
	switch {
	case errors.Is(err, client.ErrExists):
		log.Print("enrolled already")
	case err != nil:
		log.Print(err)
	default:
		log.Printf("this is %s now", p.Client)
	}
}

// What went wrong decides what to do.
func ExampleDeniedError() {
	var c *client.Client // from Dial
	var sealed []byte
	open := func() error {
		_, _, err := c.Decrypt(context.Background(), sealed, client.DecryptOptions{Keys: []string{"payments/cards"}})
		return err
	}
	handle := func(err error) string {
		if denied, ok := errors.AsType[*client.DeniedError](err); ok {
			return "ask an admin: " + denied.Reason
		}
		switch {
		case errors.Is(err, client.ErrUnavailable):
			return "try again later"
		case errors.Is(err, client.ErrUnexpectedKey), errors.Is(err, envelope.ErrIntegrity):
			return "this is not what was stored here"
		case errors.Is(err, client.ErrIntegrity), errors.Is(err, client.ErrRollback):
			return "call somebody"
		}
		return "unknown"
	}
	_ = open
	fmt.Println(handle(&client.DeniedError{Reason: "no policy allows it"}))
	// Output: ask an admin: no policy allows it
}

// A large object: what is written is authentic, and only a nil error says that it
// is the whole. So the file gets its name last.
func ExampleClient_DecryptStream() {
	var c *client.Client // from Dial
	restore := func(ctx context.Context, name string) error {
		in, err := os.Open(name + ".sealed")
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.Create(name + ".part")
		if err != nil {
			return err
		}
		_, err = c.DecryptStream(ctx, out, in, client.DecryptOptions{Keys: []string{"backup"}, Context: []byte(name)})
		if err = errors.Join(err, out.Close()); err != nil {
			return errors.Join(err, os.Remove(out.Name()))
		}
		return os.Rename(out.Name(), name)
	}
	_ = restore
}

// One object for two keys: either opens it.
func ExampleClient_Sealing() {
	var c *client.Client // from Dial
	seal := func(ctx context.Context, report []byte) ([]byte, error) {
		return envelope.Encrypt(ctx, c.Sealing("finance/reports", client.EncryptOptions{}), report, envelope.Options{
			Also: []envelope.Wrapper{c.Sealing("audit/escrow", client.EncryptOptions{})},
		})
	}
	_ = seal
}
