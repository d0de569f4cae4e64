// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"claviger/internal/secret"
)

// maxPassphrase is how many bytes a prompt takes; more is a paste gone wrong.
const maxPassphrase = 1024

// errNobody says that a question has nobody to go to.
var errNobody = errors.New("there is no terminal to ask on")

// askPassphrase asks once, on the terminal, without echo. The caller wipes what
// it gets.
func (e *env) askPassphrase(ctx context.Context, prompt string) (*secret.Bytes, error) {
	if e.Terminal == nil {
		return nil, errNobody
	}
	t, err := e.Terminal()
	if err != nil {
		return nil, errNobody
	}
	defer t.Close()
	raw, err := t.Raw()
	if err != nil {
		return nil, err
	}
	restore := sync.OnceValue(raw)
	// A blocked read knows nothing of ctx. The echo comes back even where the
	// read can't be ended before the next key.
	defer context.AfterFunc(ctx, func() { restore(); t.Interrupt() })()
	fmt.Fprintf(t, "%s: ", oneLine(prompt)) // after Raw: not even a hasty typist is echoed
	pass, err := readHidden(t)
	restored := restore()
	if ctx.Err() == nil {
		fmt.Fprint(t, "\n")
	}
	if err = cmp.Or(ctx.Err(), err, restored); err != nil {
		if pass != nil {
			pass.Wipe()
		}
		return nil, fmt.Errorf("read passphrase: %w", err)
	}
	return pass, nil
}

// newPassphrase asks twice and takes only two equal answers that aren't empty.
func (e *env) newPassphrase(ctx context.Context, prompt string) (*secret.Bytes, error) {
	first, err := e.askPassphrase(ctx, prompt)
	if err != nil {
		return nil, err
	}
	again, err := e.askPassphrase(ctx, "Once more")
	if err != nil {
		first.Wipe()
		return nil, err
	}
	defer again.Wipe()
	if !first.Equal(again) {
		first.Wipe()
		return nil, usagef("the two passphrases differ")
	}
	return first, nil
}

// The keys that a raw terminal sends and readHidden knows.
const (
	keyInterrupt = 0x03 // Ctrl-C
	keyEnd       = 0x04 // Ctrl-D
	keyBackspace = 0x08
	keyKill      = 0x15 // Ctrl-U
	keyDelete    = 0x7f
)

// readHidden reads one line from a raw terminal straight into protected
// memory. x/term's ReadPassword would leave every shorter prefix of the
// passphrase on the heap as its buffer grows.
func readHidden(r io.Reader) (*secret.Bytes, error) {
	buf := secret.New(maxPassphrase)
	defer buf.Wipe()
	line, n := buf.Expose(), 0
	var key [1]byte
	for {
		if _, err := io.ReadFull(r, key[:]); err != nil {
			return nil, err
		}
		switch key[0] {
		case '\r', '\n':
			if n == 0 {
				return nil, usagef("the passphrase is empty")
			}
			return secret.Take(line[:n]), nil
		case keyInterrupt, keyEnd:
			return nil, context.Canceled
		case keyBackspace, keyDelete:
			n = lastRune(line, n)
		case keyKill:
			n = 0
		default:
			if n == maxPassphrase {
				return nil, usagef("the passphrase is longer than %d bytes", maxPassphrase)
			}
			line[n] = key[0]
			n++
		}
	}
}

// lastRune returns where the last UTF-8 character of line[:n] begins.
func lastRune(line []byte, n int) int {
	for n > 0 {
		n--
		if line[n]&0xc0 != 0x80 { // not a continuation byte
			break
		}
	}
	return n
}

// confirm asks for a word to be typed before something that can't be undone.
// yes is the command's --yes. Without a person on standard input nothing is
// assumed: that is a usage failure.
func (e *env) confirm(ctx context.Context, question, word string, yes bool) error {
	if yes {
		return nil
	}
	if !e.InTTY {
		return usagef("%s needs a confirmation and nobody can be asked", question).withHint("add --yes if you are sure")
	}
	fmt.Fprintf(e.Err, "%s Type %q to go on: ", clean(question), word)
	answer, err := e.readLine(ctx)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read answer: %w", err)
	}
	if strings.TrimSpace(answer) != word {
		return usagef("not confirmed; nothing was changed")
	}
	return nil
}

// readLine reads a line of standard input, unless ctx ends before: a read of a
// terminal goes on after Ctrl-C, and the process ends around it.
func (e *env) readLine(ctx context.Context) (string, error) {
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := bufio.NewReader(io.LimitReader(e.In, 4096)).ReadString('\n')
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		return a.text, a.err
	case <-ctx.Done():
		fmt.Fprintln(e.Err)
		return "", ctx.Err()
	}
}
