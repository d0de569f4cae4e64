// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"sync/atomic"

	"claviger/envelope/internal/cobblestone"
	"claviger/internal/secret"
)

// Options are what sealing and opening have in common. The zero value works.
type Options struct {
	// Context binds the body to something that reader and writer know from
	// elsewhere; any bytes, not stored, equal on both sides. See the package
	// documentation for what happens without.
	Context []byte
	// Also are further Wrappers, each for a slot of its own, all of the same
	// domain. At most MaxSlots in all. Only for sealing.
	Also []Wrapper
	// Workers is how many goroutines seal or open what is longer than 1 MiB,
	// except when it goes through a Writer, Reader or ReaderAt; below 1 means one per
	// available processor. Each takes 2 MiB for files and streams.
	Workers int
}

func (o Options) workers() int {
	if o.Workers < 1 {
		return runtime.GOMAXPROCS(0)
	}
	return o.Workers
}

// bodyContext is the Cobblestone context of a body. It knows nothing of slots, so
// that they can be replaced.
func (o Options) bodyContext() [32]byte { return hash("body", []byte{suite}, o.Context) }

// Sealer seals one body under a data key of its own. Its header is known before
// the body. Use one of Seal, Append, Writer, File and Stream, once: a second call
// returns ErrUsed.
type Sealer struct {
	header  []byte
	body    *cobblestone.Message
	workers int
	used    atomic.Bool
}

// NewSealer makes a data key and the header that holds it for w and for
// Options.Also.
func NewSealer(ctx context.Context, w Wrapper, o Options) (*Sealer, error) {
	dek := secret.Random(DEKSize)
	defer dek.Wipe()
	slots := make([]Slot, 0, 1+len(o.Also))
	for _, w := range append([]Wrapper{w}, o.Also...) {
		slot, err := wrap(ctx, w, dek)
		if err != nil {
			return nil, err
		}
		slots = append(slots, slot)
	}
	header, err := encodeHeader(slots, dek)
	if err != nil {
		return nil, sealed(err)
	}
	key := mustKey(cobblestone.NewKey(dek))
	defer key.Wipe()
	bound := o.bodyContext()
	return &Sealer{header: header, body: key.New(bound[:]), workers: o.workers()}, nil
}

// Header returns the header, to be stored with the body or apart from it.
func (s *Sealer) Header() []byte { return bytes.Clone(s.header) }

// take gives the body's state to the one call that may use it.
func (s *Sealer) take() (*cobblestone.Message, error) {
	if s.used.Swap(true) {
		return nil, ErrUsed
	}
	return s.body, nil
}

// Seal returns the body of plaintext.
func (s *Sealer) Seal(plaintext []byte) ([]byte, error) { return s.Append(nil, plaintext) }

// Encrypt returns the object of plaintext: header and body. It holds both
// texts in memory; for more than that can bear there are EncryptStream and
// EncryptFile.
func Encrypt(ctx context.Context, w Wrapper, plaintext []byte, o Options) ([]byte, error) {
	s, err := NewSealer(ctx, w, o)
	if err != nil {
		return nil, err
	}
	return s.Append(s.Header(), plaintext)
}

// NewWriter writes the header to dst and returns a Writer for the body.
func NewWriter(ctx context.Context, w Wrapper, dst io.Writer, o Options) (*Writer, error) {
	s, err := NewSealer(ctx, w, o)
	if err != nil {
		return nil, err
	}
	if err := s.writeHeader(dst); err != nil {
		return nil, err
	}
	return s.Writer(dst)
}
