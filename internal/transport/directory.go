// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"time"

	"claviger/internal/wire"
)

// Names in a directory are hexadecimal: so many digits each.
const (
	serverDigits = 2 * len(wire.ServerID{})
	hashDigits   = 2 * len(wire.Hash{})
	numberDigits = 16
)

const answersDir = "answers"

// Bounds of looking again.
const (
	firstLook = 10 * time.Millisecond
	lastLook  = 500 * time.Millisecond
)

// Directory carries one domain's messages as files in a directory that client and
// server both reach (docs/spec/relay.md, section 6). It is safe for concurrent
// use.
type Directory struct {
	address Address
	domain  wire.DomainID
	options Options
}

// posted is a request on its way, parcel a message at rest.
type (
	posted struct {
		_      struct{} `cbor:",toarray"`
		Token  []byte
		Sealed []byte
	}
	parcel struct {
		_       struct{} `cbor:",toarray"`
		Expires int64    // Unix milliseconds
		Sealed  []byte
	}
)

const (
	maxPosted = wire.MaxSealedSize + 128
	maxParcel = wire.MaxParcel + 128
)

func parsePosted(data []byte) (*posted, error) {
	var p posted
	if err := wire.Unmarshal(data, &p, maxPosted); err != nil {
		return nil, err
	}
	if len(p.Token) > 64 || len(p.Sealed) > wire.MaxSealedSize {
		return nil, fmt.Errorf("%w: request", wire.ErrMalformed)
	}
	return &p, nil
}

func parseParcel(data []byte) (*parcel, error) {
	var p parcel
	if err := wire.Unmarshal(data, &p, maxParcel); err != nil {
		return nil, err
	}
	if len(p.Sealed) > wire.MaxParcel {
		return nil, fmt.Errorf("%w: parcel", wire.ErrMalformed)
	}
	return &p, nil
}

// NewDirectory returns a Directory for an address of [KindDirectory], which must
// exist when it is used.
func NewDirectory(a Address, domain wire.DomainID, o Options) (*Directory, error) {
	if a.Kind != KindDirectory {
		return nil, fmt.Errorf("%w: %q is no directory's", ErrAddress, a)
	}
	return &Directory{a, domain, o.filled()}, nil
}

// Address is the directory's address.
func (d *Directory) Address() string { return d.address.String() }

func (d *Directory) open() (tree, error) { return openTree(d.address.Path) }

func (d *Directory) board(what string) string { return "board/" + d.domain.String() + "/" + what }

// Introductions reads the newest introduction of each server. Nothing is
// verified; what can't be read is left out.
func (d *Directory) Introductions(ctx context.Context) ([][]byte, error) {
	return d.list(ctx, "introductions", wire.MaxIntroduction)
}

// Statements reads the newest statement of each server, likewise.
func (d *Directory) Statements(ctx context.Context) ([][]byte, error) {
	return d.list(ctx, "statements", wire.MaxStatement)
}

func (d *Directory) list(ctx context.Context, what string, limit int) ([][]byte, error) {
	t, err := d.open()
	if err != nil {
		return nil, err
	}
	defer t.Close()
	dir := d.board(what)
	names, err := t.list(dir, serverDigits, wire.MaxBoardServers)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.Address(), err)
	}
	var out [][]byte
	for _, name := range names {
		if data, err := t.read(dir+"/"+name, limit); err == nil {
			out = append(out, data)
		}
	}
	return out, ctx.Err()
}

// Follow yields the statements that are there, then each new one as it is found,
// until ctx ends or the directory can't be read, with an error last.
func (d *Directory) Follow(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var known [][]byte
		for pause := firstLook; ; pause = min(2*pause, lastLook) {
			found, err := d.Statements(ctx)
			if err != nil {
				yield(nil, fmt.Errorf("follow %s: %w", d.Address(), err))
				return
			}
			for _, s := range found {
				if contains(known, s) {
					continue
				}
				pause = firstLook
				if !yield(s, nil) {
					return
				}
			}
			known = found
			sleep(ctx, pause)
		}
	}
}

func contains(list [][]byte, one []byte) bool {
	for _, have := range list {
		if bytes.Equal(have, one) {
			return true
		}
	}
	return false
}

// Exchange leaves a sealed message in the peer's mailbox and waits for the sealed
// answer, of which nothing is verified. A server that isn't there, or doesn't
// answer in time, is an [Error] as from a relay.
func (d *Directory) Exchange(ctx context.Context, to Peer, sealed []byte) ([]byte, error) {
	if to.Mailbox.IsZero() {
		return nil, fmt.Errorf("ask %s: %w", d.Address(), ErrNoMailbox)
	}
	t, err := d.open()
	if err != nil {
		return nil, err
	}
	defer t.Close()
	name := hex.EncodeToString(random(len(wire.Hash{})))
	question := mailboxDir(to.Mailbox) + "/in/" + name
	if err := t.write(question, wire.Marshal(posted{Token: to.Token, Sealed: sealed}), false); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, d.trouble(http.StatusServiceUnavailable, "offline", "the server is not listening at this directory")
		}
		return nil, fmt.Errorf("ask %s: %w", d.Address(), err)
	}
	answer, err := d.await(ctx, t, answersDir+"/"+name)
	if err != nil {
		_ = t.Remove(question) // unless the server has it
		return nil, err
	}
	return answerOrTrouble(d.Address(), answer)
}

// await reads an answer when it comes, and removes it.
func (d *Directory) await(ctx context.Context, t tree, name string) ([]byte, error) {
	within, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		answer, err := t.read(name, maxAnswer)
		if err == nil {
			_ = t.Remove(name) // else the server does, after a while
			return answer, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read answer of %s: %w", d.Address(), err)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask %s: %w", d.Address(), ctx.Err())
		}
		if within.Err() != nil {
			return nil, d.trouble(http.StatusGatewayTimeout, "timeout", "the server has not answered")
		}
		sleep(within, pause)
	}
}

func (d *Directory) trouble(status int, code, message string) error {
	return &Error{Address: d.Address(), Status: status, Code: code, Message: message}
}

func mailboxDir(id wire.Hash) string { return "mailbox/" + id.String() }
