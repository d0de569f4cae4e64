// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"

	"claviger/envelope"
)

// released plays a key server: 32 bytes for a Ref.
func released(partition string) *envelope.LeafKey {
	ref := envelope.Ref{Version: 1, Partition: []byte(partition)}
	rand.Read(ref.Domain[:])
	rand.Read(ref.KeyID[:])
	leaf := make([]byte, envelope.LeafSize)
	rand.Read(leaf)
	key, err := envelope.NewLeafKey(ref, leaf)
	if err != nil {
		log.Fatal(err)
	}
	return key
}

func ExampleEncrypt() {
	ctx, key := context.Background(), released("tenant-1")
	defer key.Wipe()
	place := envelope.Options{Context: []byte("invoices/2031/17.pdf@1")}

	object, err := envelope.Encrypt(ctx, key, []byte("to whom it may concern"), place)
	if err != nil {
		log.Fatal(err)
	}
	plain, err := envelope.Decrypt(ctx, key, object, place)
	fmt.Printf("%s, %v\n", plain, err)

	moved := envelope.Options{Context: []byte("invoices/2031/18.pdf@1")}
	_, err = envelope.Decrypt(ctx, key, object, moved)
	fmt.Println(errors.Is(err, envelope.ErrIntegrity))
	// Output:
	// to whom it may concern, <nil>
	// true
}

func ExampleNewWriter() {
	ctx, key := context.Background(), released("")
	defer key.Wipe()

	var object bytes.Buffer
	w, err := envelope.NewWriter(ctx, key, &object, envelope.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(w, "line 1\nline 2\n")
	if err := w.Close(); err != nil { // an object without its end doesn't open
		log.Fatal(err)
	}

	r, err := envelope.NewReader(ctx, key, &object, envelope.Options{})
	if err != nil {
		log.Fatal(err)
	}
	text, err := io.ReadAll(r)
	fmt.Printf("%s%v\n", text, err)
	// Output:
	// line 1
	// line 2
	// <nil>
}

func ExampleNewReaderAt() {
	ctx, key := context.Background(), released("")
	defer key.Wipe()
	object, err := envelope.Encrypt(ctx, key, bytes.Repeat([]byte("0123456789"), 100_000), envelope.Options{})
	if err != nil {
		log.Fatal(err)
	}

	r, err := envelope.NewReaderAt(ctx, key, bytes.NewReader(object), int64(len(object)), envelope.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	part := make([]byte, 4)
	_, err = r.ReadAt(part, 777_777)
	fmt.Printf("%s of %d bytes, %v\n", part, r.Size(), err)
	// Output:
	// 7890 of 1000000 bytes, <nil>
}

func ExampleRewrap() {
	ctx, old := context.Background(), released("")
	defer old.Wipe()
	s, err := envelope.NewSealer(ctx, old, envelope.Options{})
	if err != nil {
		log.Fatal(err)
	}
	header := s.Header()
	body, err := s.Seal([]byte("many gigabytes"))
	if err != nil {
		log.Fatal(err)
	}

	next := released("")
	defer next.Wipe()
	header, err = envelope.Rewrap(ctx, old, next, header) // the body stays where it is
	if err != nil {
		log.Fatal(err)
	}
	o, err := envelope.NewOpener(ctx, next, header, envelope.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer o.Close()
	plain, err := o.Open(body)
	fmt.Printf("%s, %v\n", plain, err)
	// Output:
	// many gigabytes, <nil>
}

func ExampleLeafKey_SealField() {
	key := released("tenant-1")
	defer key.Wipe()
	field, err := key.SealField([]byte("4111 1111 1111 1111"), []byte("cards.number/17"))
	if err != nil {
		log.Fatal(err)
	}
	number, err := key.OpenField(field, []byte("cards.number/17"))
	fmt.Printf("%s, %v\n", number, err)
	// Output:
	// 4111 1111 1111 1111, <nil>
}
