// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// progress reports how far a long command has come, on standard error. On a
// terminal it is one line that is drawn again when the percentage changes;
// elsewhere one line for every tenth; under --json nothing. It needs no clock:
// what moves it is work done. Safe for concurrent use.
type progress struct {
	w     io.Writer
	what  string
	tty   bool
	total int64

	mu    sync.Mutex
	done  int64
	shown int64 // last percentage written, -1 before the first
}

// progress starts reporting on total units of what ("bytes" need no name: give
// the name of the file). A total that isn't known (≤ 0) reports nothing.
func (e *env) progress(what string, total int64) *progress {
	p := &progress{w: e.Err, what: oneLine(what), tty: e.ErrTTY, total: total, shown: -1}
	if e.json || total <= 0 {
		p.w = io.Discard
		p.total = max(total, 1)
	}
	return p
}

// Add counts n more units.
func (p *progress) Add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	percent := int64(float64(min(p.done, p.total)) / float64(p.total) * 100)
	if !p.tty {
		percent -= percent % 10
	}
	if percent <= p.shown || (percent == 0 && !p.tty) {
		return
	}
	p.shown = percent
	p.draw(percent)
}

// Write counts the bytes of b, so that a progress can stand behind an
// io.TeeReader or io.MultiWriter.
func (p *progress) Write(b []byte) (int, error) {
	p.Add(int64(len(b)))
	return len(b), nil
}

// Close takes the line off the terminal, so that what follows starts clean.
func (p *progress) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tty && p.shown >= 0 {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func (p *progress) draw(percent int64) {
	if !p.tty {
		fmt.Fprintf(p.w, "%s: %d%%\n", p.what, percent)
		return
	}
	const width = 30
	full := int(percent * width / 100)
	fmt.Fprintf(p.w, "\r\x1b[K%s [%s%s] %3d%%", p.what, strings.Repeat("#", full), strings.Repeat(".", width-full), percent)
}
