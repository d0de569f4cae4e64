// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"claviger/envelope"
	"claviger/internal/wire"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
)

// figures is what a process that measures one thing prints: for one operation.
type figures struct {
	CPU    float64 `json:"cpu_ns"` // processor time, of the garbage collector too
	Wall   float64 `json:"wall_ns"`
	Allocs float64 `json:"allocs"`
	Bytes  float64 `json:"bytes"` // that one operation is about, 0 if none
}

const (
	inMemory  = 64 << 20
	chunkSize = 16 << 10
	fieldSize = 100
	shortest  = 400 * time.Millisecond // of processor time, for one measurement
)

// operation is something to do over and over.
type operation func() error

// measurements are by name; each makes its operation and says how many bytes that
// is about.
var measurements = map[string]func(args []string) (operation, float64, error){
	"gcm":         rawGCM,
	"seal":        sealMemory,
	"open":        openMemory,
	"encrypt":     encryptMemory,
	"decrypt":     decryptMemory,
	"field-seal":  sealField,
	"field-open":  openField,
	"tink-seal":   tinkSeal,
	"tink-open":   tinkOpen,
	"random-read": randomRead,
	"public-key":  publicKey,
}

// measure does one thing for a while and prints the figures.
func measure(name string, args []string) error {
	prepare, ok := measurements[name]
	if !ok {
		return fmt.Errorf("nothing to measure is called %q", name)
	}
	op, bytes, err := prepare(args)
	if err != nil {
		return err
	}
	f, err := repeat(op)
	if err != nil {
		return err
	}
	f.Bytes = bytes
	return json.NewEncoder(os.Stdout).Encode(f)
}

// repeat runs op until it has taken long enough to be counted.
func repeat(op operation) (figures, error) {
	for range 2 { // caches, pools
		if err := op(); err != nil {
			return figures{}, err
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, spent := time.Now(), spentCPU()
	n := 0
	for step := 1; spentCPU()-spent < shortest; step = min(step*2, 1000) {
		for range step {
			if err := op(); err != nil {
				return figures{}, err
			}
		}
		n += step
	}
	cpu, wall := spentCPU()-spent, time.Since(start)
	runtime.ReadMemStats(&after)
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(n) }
	return figures{CPU: each(cpu), Wall: each(wall), Allocs: float64(after.Mallocs-before.Mallocs) / float64(n)}, nil
}

// spentCPU is this process's processor time so far.
func spentCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func leaf() (*envelope.LeafKey, error) {
	return envelope.NewLeafKey(envelope.Ref{Domain: [32]byte{1}, KeyID: [16]byte{2}, Version: 1}, random(envelope.LeafSize))
}

// rawGCM is the limit: chunks of 16 KiB into memory that is there already.
func rawGCM([]string) (operation, float64, error) {
	block, err := aes.NewCipher(random(32))
	if err != nil {
		return nil, 0, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, 0, err
	}
	text, nonce := random(inMemory), make([]byte, 12)
	room := make([]byte, 0, inMemory+inMemory/chunkSize*gcm.Overhead())
	return func() error {
		out := room
		for i := 0; i < inMemory; i += chunkSize {
			binary.BigEndian.PutUint64(nonce, uint64(i))
			out = gcm.Seal(out, nonce, text[i:i+chunkSize], nil)
		}
		return nil
	}, inMemory, nil
}

// sealMemory is a whole object into memory that is there already.
func sealMemory([]string) (operation, float64, error) {
	k, err := leaf()
	if err != nil {
		return nil, 0, err
	}
	text, room := random(inMemory), make([]byte, 0, 2*inMemory)
	return func() error {
		s, err := envelope.NewSealer(context.Background(), k, envelope.Options{})
		if err != nil {
			return err
		}
		_, err = s.Append(append(room, s.Header()...), text)
		return err
	}, inMemory, nil
}

func openMemory([]string) (operation, float64, error) {
	k, err := leaf()
	if err != nil {
		return nil, 0, err
	}
	s, err := envelope.NewSealer(context.Background(), k, envelope.Options{})
	if err != nil {
		return nil, 0, err
	}
	body, err := s.Seal(random(inMemory))
	if err != nil {
		return nil, 0, err
	}
	room := make([]byte, 0, inMemory)
	return func() error {
		o, err := envelope.NewOpener(context.Background(), k, s.Header(), envelope.Options{})
		if err != nil {
			return err
		}
		defer o.Close()
		_, err = o.Append(room, body)
		return err
	}, inMemory, nil
}

func encryptMemory([]string) (operation, float64, error) {
	k, err := leaf()
	text := random(inMemory)
	return func() error {
		_, err := envelope.Encrypt(context.Background(), k, text, envelope.Options{})
		return err
	}, inMemory, err
}

func decryptMemory([]string) (operation, float64, error) {
	k, err := leaf()
	if err != nil {
		return nil, 0, err
	}
	object, err := envelope.Encrypt(context.Background(), k, random(inMemory), envelope.Options{})
	return func() error {
		_, err := envelope.Decrypt(context.Background(), k, object, envelope.Options{})
		return err
	}, inMemory, err
}

func sealField([]string) (operation, float64, error) {
	k, err := leaf()
	text, column := random(fieldSize), []byte("table.column/17")
	return func() error {
		_, err := k.SealField(text, column)
		return err
	}, 0, err
}

func openField([]string) (operation, float64, error) {
	k, err := leaf()
	if err != nil {
		return nil, 0, err
	}
	column := []byte("table.column/17")
	field, err := k.SealField(random(fieldSize), column)
	return func() error {
		_, err := k.OpenField(field, column)
		return err
	}, 0, err
}

// tinkSeal is AES-256-GCM with a random nonce under one key: no key of its own for
// each value, no commitment.
func tinkSeal([]string) (operation, float64, error) {
	a, err := subtle.NewAESGCM(random(32))
	text, column := random(fieldSize), []byte("table.column/17")
	return func() error {
		_, err := a.Encrypt(text, column)
		return err
	}, 0, err
}

func tinkOpen([]string) (operation, float64, error) {
	a, err := subtle.NewAESGCM(random(32))
	if err != nil {
		return nil, 0, err
	}
	column := []byte("table.column/17")
	sealed, err := a.Encrypt(random(fieldSize), column)
	return func() error {
		_, err := a.Decrypt(sealed, column)
		return err
	}, 0, err
}

// randomRead makes an object of args[1] bytes in the directory args[0] and reads
// 4 KiB at random places.
func randomRead(args []string) (operation, float64, error) {
	var size int64
	if len(args) != 2 {
		return nil, 0, fmt.Errorf("random-read DIR BYTES")
	}
	if _, err := fmt.Sscan(args[1], &size); err != nil {
		return nil, 0, err
	}
	k, err := leaf()
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Create(filepath.Join(args[0], "object"))
	if err != nil {
		return nil, 0, err
	}
	defer os.Remove(f.Name()) // it stays as long as it is open
	total, err := envelope.EncryptFile(context.Background(), k, f, zeros{}, size, envelope.Options{})
	if err != nil {
		return nil, 0, err
	}
	r, err := envelope.NewReaderAt(context.Background(), k, f, total, envelope.Options{})
	p := make([]byte, 4096)
	return func() error {
		_, err := r.ReadAt(p, mathrand.Int64N(size-int64(len(p))))
		return err
	}, 0, err
}

// zeros is an endless file of zeros.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

var _ io.ReaderAt = zeros{}

// publicKey is the public-key work of a release: open the request, verify its
// signature, which is of a workload's certificate and therefore ECDSA P-256, seal
// the answer to a key that was never seen before, sign it.
func publicKey([]string) (operation, float64, error) {
	server, client := wire.NewKey(), wire.NewKey()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, 0, err
	}
	workload, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, 0, err
	}
	info, message := wire.Hash{1}, random(700)
	request, err := wire.Seal(server.Public(), wire.TypeRequest, info, message)
	if err != nil {
		return nil, 0, err
	}
	digest := sha256.Sum256(message)
	signature, err := ecdsa.SignASN1(rand.Reader, workload, digest[:])
	if err != nil {
		return nil, 0, err
	}
	return func() error {
		opened, err := server.Open(wire.TypeRequest, info, request, 1<<20)
		if err != nil {
			return err
		}
		digest := sha256.Sum256(opened)
		if !ecdsa.VerifyASN1(&workload.PublicKey, digest[:], signature) {
			return errors.New("a signature does not verify")
		}
		sealed, err := wire.Seal(client.Public(), wire.TypeRelease, info, message)
		if err != nil {
			return err
		}
		ed25519.Sign(private, sealed)
		return nil
	}, 0, nil
}
