// SPDX-License-Identifier: Apache-2.0

// Package peers encrypts and decrypts whole files with other people's libraries,
// each used as its documentation says, so that one program can run them all and
// what is compared is their data path and nothing around it. Keys are random or
// fixed: nothing here protects anything.
//
// All of them authenticate what they decrypt. None gets larger buffers than it
// asks for, except where a library takes what its caller hands it; there the
// caller hands 1 MiB at a time.
package peers

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
	"github.com/minio/sio"
	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

// Peer is one way to turn a plaintext into a ciphertext and back.
type Peer struct {
	Name    string // on the command line
	Shown   string // in a table
	Encrypt func(dst io.Writer, src io.Reader) error
	Decrypt func(dst io.Writer, src io.Reader) error
}

// step is how much a caller hands on at a time.
const step = 1 << 20

// key is 32 fixed bytes: runs that encrypt and that decrypt are processes of
// their own.
var key = []byte("0123456789abcdef0123456789abcdef")

// identity is age's fixed key.
const identity = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"

// All are the peers that can be had as Go modules, and the plain loop that a
// programmer would write; rclone's is in a package of its own, because what it
// brings along takes time at every start.
var All = []Peer{
	{"age", "age, as a library", ageEncrypt, ageDecrypt},
	{"sio", "minio sio, AES-256-GCM", sioEncrypt, sioDecrypt},
	{"tink-1m", "Tink streaming, 1 MiB segments", tinkEncrypt(1 << 20), tinkDecrypt(1 << 20)},
	{"tink-4k", "Tink streaming, 4 KiB segments", tinkEncrypt(4 << 10), tinkDecrypt(4 << 10)},
	{"gcm", "AES-256-GCM in a loop, 64 KiB chunks", gcmEncrypt, gcmDecrypt},
}

// Main is the main function of a program for some peers: NAME encrypt|decrypt IN
// OUT.
func Main(list []Peer) {
	if err := run(list, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(list []Peer, args []string) error {
	if len(args) != 4 {
		return errors.New("usage: NAME encrypt|decrypt IN OUT")
	}
	for _, p := range list {
		switch {
		case p.Name != args[0]:
		case args[1] == "encrypt":
			return file(p.Encrypt, args[3], args[2])
		case args[1] == "decrypt":
			return file(p.Decrypt, args[3], args[2])
		}
	}
	return fmt.Errorf("no peer can do %q", args[:2])
}

// file runs one direction from file to file.
func file(run func(dst io.Writer, src io.Reader) error, out, in string) error {
	src, err := os.Open(in)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := run(dst, src); err != nil {
		dst.Close()
		return err
	}
	return dst.Close()
}

// Feed copies in steps, even where the library offers ReadFrom or WriteTo.
func Feed(dst io.Writer, src io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, step))
	return err
}

func ageEncrypt(dst io.Writer, src io.Reader) error {
	id, err := age.ParseX25519Identity(identity)
	if err != nil {
		return err
	}
	w, err := age.Encrypt(dst, id.Recipient())
	if err != nil {
		return err
	}
	if err := Feed(w, src); err != nil {
		return err
	}
	return w.Close()
}

func ageDecrypt(dst io.Writer, src io.Reader) error {
	id, err := age.ParseX25519Identity(identity)
	if err != nil {
		return err
	}
	r, err := age.Decrypt(src, id)
	if err != nil {
		return err
	}
	return Feed(dst, r)
}

func sioConfig() sio.Config {
	return sio.Config{MinVersion: sio.Version20, CipherSuites: []byte{sio.AES_256_GCM}, Key: key}
}

func sioEncrypt(dst io.Writer, src io.Reader) error {
	_, err := sio.Encrypt(dst, src, sioConfig())
	return err
}

func sioDecrypt(dst io.Writer, src io.Reader) error {
	_, err := sio.Decrypt(dst, src, sioConfig())
	return err
}

func tinkEncrypt(segment int) func(io.Writer, io.Reader) error {
	return func(dst io.Writer, src io.Reader) error {
		a, err := subtle.NewAESGCMHKDF(key, "SHA256", 32, segment, 0)
		if err != nil {
			return err
		}
		w, err := a.NewEncryptingWriter(dst, nil)
		if err != nil {
			return err
		}
		if err := Feed(w, src); err != nil {
			return err
		}
		return w.Close()
	}
}

func tinkDecrypt(segment int) func(io.Writer, io.Reader) error {
	return func(dst io.Writer, src io.Reader) error {
		a, err := subtle.NewAESGCMHKDF(key, "SHA256", 32, segment, 0)
		if err != nil {
			return err
		}
		r, err := a.NewDecryptingReader(src, nil)
		if err != nil {
			return err
		}
		return Feed(dst, r)
	}
}

const (
	loopChunk = 64 << 10
	loopTag   = 16
)

// loop reads chunks of size and writes what each becomes. It is no format
// to use: nothing tells a truncated file from a whole one.
func loop(dst io.Writer, src io.Reader, size int, each func(out, nonce, in []byte) ([]byte, error)) error {
	in, out, nonce := make([]byte, size), make([]byte, 0, size+loopTag), make([]byte, 12)
	for i := uint64(0); ; i++ {
		n, err := io.ReadFull(src, in)
		if err == io.EOF {
			return nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return err
		}
		binary.BigEndian.PutUint64(nonce[4:], i)
		result, err := each(out, nonce, in[:n])
		if err != nil {
			return err
		}
		if _, err := dst.Write(result); err != nil {
			return err
		}
	}
}

func gcm() (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func gcmEncrypt(dst io.Writer, src io.Reader) error {
	a, err := gcm()
	if err != nil {
		return err
	}
	return loop(dst, src, loopChunk, func(out, nonce, in []byte) ([]byte, error) { return a.Seal(out, nonce, in, nil), nil })
}

func gcmDecrypt(dst io.Writer, src io.Reader) error {
	a, err := gcm()
	if err != nil {
		return err
	}
	return loop(dst, src, loopChunk+loopTag, func(out, nonce, in []byte) ([]byte, error) { return a.Open(out, nonce, in, nil) })
}
