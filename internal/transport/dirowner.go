// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"claviger/internal/wire"
)

// Bounds of parcels at rest in one mailbox, and of waiting requests read at once.
const (
	maxParcels     = 64
	maxParcelBytes = 4 << 20
	maxTaken       = 256
)

const (
	answersKept = 10 * time.Minute // that nobody fetched
	sweepEvery  = time.Minute
)

// DirectoryOwner is a directory as the holder of a mailbox uses it. What a relay
// would check about senders is checked here, by the reader.
type DirectoryOwner struct {
	directory *Directory
	mailbox   *Mailbox

	mu     sync.Mutex
	tokens []wire.Hash
}

// As returns the directory as the holder of m uses it.
func (d *Directory) As(m *Mailbox) *DirectoryOwner { return &DirectoryOwner{directory: d, mailbox: m} }

// Address is the directory's address.
func (o *DirectoryOwner) Address() string { return o.directory.Address() }

// PutIntroduction puts a server's introduction on the board, in the place of its
// last one, whose mailbox is removed: its key went with the process that had it.
func (o *DirectoryOwner) PutIntroduction(_ context.Context, introduction []byte) error {
	next, err := peekIntroduction(introduction)
	if err != nil {
		return err
	}
	return o.with("put introduction", func(t tree) error {
		name := o.directory.board("introductions") + "/" + next.Server.String()
		if old, err := t.read(name, wire.MaxIntroduction); err == nil {
			last, err := peekIntroduction(old)
			if err == nil && last.Server == next.Server && last.Mailbox != next.Mailbox && !last.Mailbox.IsZero() {
				_ = t.RemoveAll(mailboxDir(last.Mailbox)) // it is only in the way
			}
		}
		return t.makeAndWrite(name, introduction, false)
	})
}

func peekIntroduction(data []byte) (*wire.Descriptor, error) {
	in, err := wire.ParseIntroduction(data)
	if err != nil {
		return nil, err
	}
	return wire.PeekDescriptor(in.Descriptor)
}

// PutStatement puts a server's signed statement on the board.
func (o *DirectoryOwner) PutStatement(_ context.Context, signed []byte) error {
	s, err := wire.PeekStatement(signed)
	if err != nil {
		return err
	}
	return o.with("put statement", func(t tree) error {
		return t.makeAndWrite(o.directory.board("statements")+"/"+s.Server.String(), signed, false)
	})
}

// PutTokens names the send tokens that open the mailbox from now on. Until then
// nothing is taken.
func (o *DirectoryOwner) PutTokens(_ context.Context, hashes []wire.Hash) error {
	if len(hashes) == 0 || len(hashes) > wire.MaxSendTokens {
		return fmt.Errorf("put tokens: %w: 1 to %d of them", wire.ErrMalformed, wire.MaxSendTokens)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tokens = slices.Clone(hashes)
	return nil
}

func (o *DirectoryOwner) opens(token []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Contains(o.tokens, wire.SendTokenHash(token))
}

// PutParcel leaves a sealed message for a mailbox until it is fetched and
// deleted, or expires. A full mailbox is an [Error] with status 429.
func (o *DirectoryOwner) PutParcel(_ context.Context, to wire.Hash, expires time.Time, sealed []byte) error {
	if len(sealed) > wire.MaxParcel {
		return fmt.Errorf("put parcel: %w", errTooLarge)
	}
	return o.with("put parcel", func(t tree) error {
		dir := mailboxDir(to) + "/parcels"
		names, err := t.list(dir, numberDigits, maxScanned)
		if err != nil {
			return err
		}
		size := int64(len(sealed))
		for _, name := range names {
			if info, err := t.Lstat(dir + "/" + name); err == nil {
				size += info.Size()
			}
		}
		if len(names) >= maxParcels || size > maxParcelBytes {
			return o.directory.trouble(http.StatusTooManyRequests, "full", "the mailbox holds as many parcels as it may")
		}
		name := dir + "/" + hex.EncodeToString(random(numberDigits/2))
		return t.makeAndWrite(name, wire.Marshal(parcel{Expires: expires.UnixMilli(), Sealed: sealed}), true)
	})
}

// DeleteParcel deletes a parcel that Receive yielded.
func (o *DirectoryOwner) DeleteParcel(_ context.Context, number uint64) error {
	return o.with("delete parcel", func(t tree) error {
		return t.Remove(mailboxDir(o.mailbox.id) + "/parcels/" + numberName(number))
	})
}

func numberName(n uint64) string { return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, n)) }

// Answer leaves the sealed answer, or a [wire.Trouble], for who waits for it.
func (o *DirectoryOwner) Answer(_ context.Context, correlation, answer []byte) error {
	if len(correlation) != len(wire.Hash{}) {
		return fmt.Errorf("answer: %w: correlation", wire.ErrMalformed)
	}
	return o.with("answer", func(t tree) error {
		return t.makeAndWrite(answersDir+"/"+hex.EncodeToString(correlation), answer, false)
	})
}

func (o *DirectoryOwner) with(what string, f func(tree) error) error {
	t, err := o.directory.open()
	if err != nil {
		return err
	}
	defer t.Close()
	if err := f(t); err != nil {
		return fmt.Errorf("%s at %s: %w", what, o.Address(), err)
	}
	return nil
}

// Receive yields what is left in the mailbox until ctx ends or the directory
// can't be used, with an error last. Requests are taken away as they are yielded;
// each parcel is yielded once.
func (o *DirectoryOwner) Receive(ctx context.Context) iter.Seq2[*wire.Delivery, error] {
	return func(yield func(*wire.Delivery, error) bool) {
		t, err := o.directory.open()
		if err != nil {
			yield(nil, err)
			return
		}
		defer t.Close()
		r := reception{o: o, t: t, dir: mailboxDir(o.mailbox.id), seen: map[string]bool{}, remove: t.Remove}
		defer r.end()
		for pause := firstLook; ; pause = min(2*pause, lastLook) {
			found, err := r.look(ctx)
			for _, d := range found {
				pause = firstLook
				if !yield(d, nil) {
					return
				}
			}
			if err != nil {
				yield(nil, fmt.Errorf("receive from %s: %w", o.Address(), err))
				return
			}
			if len(found) > 0 {
				continue
			}
			sleep(ctx, pause)
		}
	}
}

// reception is one run of Receive.
type reception struct {
	o     *DirectoryOwner
	t     tree
	dir   string
	seen  map[string]bool // parcels yielded
	swept time.Duration   // boot time

	remove func(name string) error
}

// look finds what is there now.
func (r *reception) look(ctx context.Context) ([]*wire.Delivery, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	found, err := r.requests(ctx)
	if err != nil {
		return found, err // what was taken away is still to be yielded
	}
	parcels, err := r.parcels()
	return append(found, parcels...), err
}

func (r *reception) requests(ctx context.Context) ([]*wire.Delivery, error) {
	r.o.mu.Lock()
	open := len(r.o.tokens) > 0
	r.o.mu.Unlock()
	if !open {
		return nil, nil
	}
	if err := errors.Join(r.t.MkdirAll(r.dir+"/in", 0o755), r.t.MkdirAll(answersDir, 0o755), r.sweep()); err != nil {
		return nil, err
	}
	names, err := r.t.list(r.dir+"/in", hashDigits, maxTaken)
	if err != nil {
		return nil, err
	}
	var out []*wire.Delivery
	for _, name := range names {
		data, err := r.t.read(r.dir+"/in/"+name, maxPosted)
		// Security: what can't be taken away would be answered for ever.
		if rerr := r.remove(r.dir + "/in/" + name); rerr != nil {
			return out, rerr
		}
		if err != nil {
			continue // nobody waits for an answer to that
		}
		p, err := parsePosted(data)
		if err != nil {
			continue
		}
		correlation, _ := hex.DecodeString(name) // list has seen that it is hexadecimal
		if !r.o.opens(p.Token) {
			if err := r.o.Answer(ctx, correlation, wire.Marshal(noToken())); err != nil {
				return out, err
			}
			continue
		}
		out = append(out, &wire.Delivery{Correlation: correlation, Data: p.Sealed})
	}
	return out, nil
}

func noToken() wire.Trouble {
	return wire.Trouble{Type: wire.TypeTrouble, Status: http.StatusForbidden, Code: "denied", Message: "the send token is none of this mailbox"}
}

func (r *reception) sweep() error {
	now := r.o.directory.options.Clock.Boot()
	if r.swept != 0 && now-r.swept < sweepEvery {
		return nil
	}
	r.swept = now
	return r.t.sweep(answersDir, hashDigits, answersKept)
}

func (r *reception) parcels() ([]*wire.Delivery, error) {
	dir := r.dir + "/parcels"
	names, err := r.t.list(dir, numberDigits, maxParcels)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var out []*wire.Delivery
	for _, name := range names {
		seen[name] = true
		if r.seen[name] {
			continue
		}
		data, err := r.t.read(dir+"/"+name, maxParcel)
		number, _ := strconv.ParseUint(name, 16, 64)
		if err != nil || number == 0 {
			continue
		}
		p, err := parseParcel(data)
		if err != nil {
			continue
		}
		if p.Expires <= r.o.directory.options.Clock.Now().UnixMilli() {
			_ = r.t.Remove(dir + "/" + name) // it is passed over in any case
			continue
		}
		out = append(out, &wire.Delivery{Number: number, Data: p.Sealed})
	}
	r.seen = seen
	return out, nil
}

// end takes the mailbox away, so that senders see that nobody listens. Parcels
// stay, and what is left of requests goes.
func (r *reception) end() {
	_ = r.t.RemoveAll(r.dir + "/in")
	_ = r.t.Remove(r.dir) // if it is empty
}
