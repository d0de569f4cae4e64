// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// EncryptStream seals all of src into an object on dst and returns the object's
// size. Workers seal batches of 1 MiB while the caller's goroutine reads and
// writes, in order. It is made for bulk: what a slow source has given appears
// on dst only when its batch is full; NewWriter has no such delay. ctx is looked
// at between batches; it doesn't interrupt a Read or Write.
func EncryptStream(ctx context.Context, w Wrapper, dst io.Writer, src io.Reader, o Options) (int64, error) {
	s, err := NewSealer(ctx, w, o)
	if err != nil {
		return 0, err
	}
	if err := s.writeHeader(dst); err != nil {
		return 0, err
	}
	n, err := s.Stream(ctx, dst, src)
	return int64(len(s.header)) + n, err
}

// DecryptStream opens the object that src holds to dst and returns how much
// plaintext it wrote. What it writes is authentic, but only a nil error says that
// it is the whole. Errors: ErrFormat, ErrNoKey, ErrIntegrity, those of u, src and
// dst.
func DecryptStream(ctx context.Context, u Unwrapper, dst io.Writer, src io.Reader, o Options) (int64, error) {
	opener, _, err := openHead(ctx, u, src, o)
	if err != nil {
		return 0, err
	}
	defer opener.key.Wipe()
	return opener.Stream(ctx, dst, src)
}

// Stream is EncryptStream for the body alone.
func (s *Sealer) Stream(ctx context.Context, dst io.Writer, src io.Reader) (int64, error) {
	body, err := s.take()
	if err != nil {
		return 0, err
	}
	defer body.Wipe()
	prefix := body.Prefix()
	if err := write(dst, prefix); err != nil {
		return 0, err
	}
	p := &pipeline{batch: batchPlain, work: func(j *job) error {
		var err error
		j.out, err = body.SealRun(j.out[:0], j.first, j.in, j.last)
		return sealed(err)
	}}
	n, err := p.run(ctx, s.workers, dst, src)
	return int64(len(prefix)) + n, err
}

// Stream is DecryptStream for a body alone.
func (o *Opener) Stream(ctx context.Context, dst io.Writer, src io.Reader) (int64, error) {
	body, err := o.begin(src)
	if err != nil {
		return 0, err
	}
	defer body.Wipe()
	p := &pipeline{batch: batchSealed, work: func(j *job) error {
		var err error
		j.out, err = body.OpenRun(j.out[:0], j.first, j.in, j.last)
		return opened(err)
	}}
	return p.run(ctx, o.workers, dst, src)
}

// pipeline reads batches, has workers change them, and writes them in order.
// Reading and writing stay on the caller's goroutine, so that none is left
// behind in a Read that never returns.
type pipeline struct {
	batch   int // bytes read at a time: a whole number of chunks
	work    func(*job) error
	jobs    chan *job // to the workers
	waiting []*job    // in the order of the stream, read but not yet written
	free    []*job
	written int64
}

// job is one batch on its way.
type job struct {
	buffers
	first int64
	last  bool
	done  chan error // the worker's answer; room for one
}

func (p *pipeline) run(ctx context.Context, workers int, dst io.Writer, src io.Reader) (int64, error) {
	p.jobs = make(chan *job, workers+1)
	for range workers + 1 {
		p.free = append(p.free, &job{done: make(chan error, 1)})
	}
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for j := range p.jobs {
				j.done <- p.work(j)
			}
		})
	}
	err := p.pump(ctx, dst, src)
	close(p.jobs)
	group.Wait()
	for _, j := range append(p.free, p.waiting...) {
		j.wipe()
	}
	return p.written, err
}

// pump reads to the end, keeping all workers busy, and writes what is done.
func (p *pipeline) pump(ctx context.Context, dst io.Writer, src io.Reader) error {
	for first, last := int64(0), false; !last; first += batchChunks {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		for len(p.free) == 0 || p.ready() {
			if err := p.writeOldest(dst); err != nil {
				return err
			}
		}
		j := p.free[len(p.free)-1]
		buf := j.input(int64(p.batch), 0)
		n, err := readFull(src, buf)
		if err != nil {
			return errors.Join(p.drain(dst), fmt.Errorf("read input: %w", err))
		}
		p.free = p.free[:len(p.free)-1]
		last = n < p.batch
		j.in, j.first, j.last = buf[:n], first, last
		p.waiting = append(p.waiting, j)
		p.jobs <- j
	}
	return p.drain(dst)
}

// ready reports whether the oldest batch can be written without waiting.
func (p *pipeline) ready() bool { return len(p.waiting) > 0 && len(p.waiting[0].done) > 0 }

func (p *pipeline) drain(dst io.Writer) error {
	for len(p.waiting) > 0 {
		if err := p.writeOldest(dst); err != nil {
			return err
		}
	}
	return nil
}

// writeOldest waits for the batch that comes next in the stream and writes it.
func (p *pipeline) writeOldest(dst io.Writer) error {
	j := p.waiting[0]
	p.waiting = p.waiting[1:]
	p.free = append(p.free, j)
	if err := <-j.done; err != nil {
		return err
	}
	n, err := dst.Write(j.out)
	p.written += int64(n)
	if err == nil && n < len(j.out) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
