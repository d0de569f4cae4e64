// SPDX-License-Identifier: Apache-2.0

package client

import (
	"fmt"
	"io"
	"sync/atomic"

	"claviger/client/internal/leases"
)

// watch keeps an eye on the lease under which a stream runs. The stream has a data
// key of its own by then: without this, it would go on after a revocation.
type watch struct {
	client *Client
	lease  atomic.Pointer[leases.Lease]
}

// check fails once the lease is revoked. That it ends by time stops no stream that
// was begun before.
func (w *watch) check() error {
	l := w.lease.Load()
	if l == nil || !w.client.view.News().Revokes(l.Item.Revocation, l.Epoch) {
		return nil
	}
	return fmt.Errorf("%w while a stream was under way: key %s", ErrRevoked, l.Item.Name)
}

// reader is what a stream reads from: nothing more once its lease is revoked.
func (w *watch) reader(r io.Reader) io.Reader { return watchedReader{w, r} }

type watchedReader struct {
	watch *watch
	from  io.Reader
}

// Read implements io.Reader.
func (r watchedReader) Read(p []byte) (int, error) {
	if err := r.watch.check(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}

// readerAt is the same for files.
func (w *watch) readerAt(r io.ReaderAt) io.ReaderAt { return watchedReaderAt{w, r} }

type watchedReaderAt struct {
	watch *watch
	from  io.ReaderAt
}

// ReadAt implements io.ReaderAt.
func (r watchedReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if err := r.watch.check(); err != nil {
		return 0, err
	}
	return r.from.ReadAt(p, off)
}
