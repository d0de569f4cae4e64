// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"claviger/internal/secret"
)

// Wrapper seals a DEK for one key.
type Wrapper interface {
	// Wrap returns a slot that holds dek: Ref complete with its Domain, Message
	// as docs/spec/envelope.md, section 4, has it. It must neither keep nor
	// change dek, which lies in memory that is given back after the call.
	Wrap(ctx context.Context, dek []byte) (Slot, error)
}

// Unwrapper finds the DEK of an object.
type Unwrapper interface {
	// Unwrap chooses the one slot whose ids name a key it has, and opens it. It
	// must not try a second one when that fails. The slots come from the
	// ciphertext and aren't authentic. Errors: ErrNoKey if it has no such key,
	// ErrIntegrity if the chosen slot doesn't open; any other is passed on.
	Unwrap(ctx context.Context, slots []Slot) (Unwrapped, error)
}

// Unwrapped is the answer of an Unwrapper.
type Unwrapped struct {
	DEK    []byte   // DEKSize bytes; who gets it owns it and wipes it
	Slot   int      // which of the slots was opened
	Domain [32]byte // the domain whose key opened it
}

// openedHeader is a header whose MAC is right.
type openedHeader struct {
	dek    *secret.Bytes // whoever has the openedHeader wipes it
	slots  []Slot        // Ref.Domain filled in: the MAC binds all to one
	chosen int
}

// openHeader finds the DEK of a header and verifies the header with it.
func openHeader(ctx context.Context, u Unwrapper, raw []byte) (*openedHeader, error) {
	slots, err := parseHeader(raw)
	if err != nil {
		return nil, err
	}
	got, err := u.Unwrap(ctx, cloneSlots(slots))
	if err != nil {
		return nil, fmt.Errorf("unwrap data key: %w", err)
	}
	dek := secret.Take(got.DEK)
	if dek.Len() != DEKSize || got.Slot < 0 || got.Slot >= len(slots) {
		dek.Wipe()
		return nil, errors.New("unwrap data key: the Unwrapper's answer names no slot or no 32-byte key")
	}
	if err := checkMAC(raw, got.Domain, dek); err != nil {
		dek.Wipe()
		return nil, err
	}
	for i := range slots {
		slots[i].Ref.Domain = got.Domain
	}
	return &openedHeader{dek: dek, slots: slots, chosen: got.Slot}, nil
}

// cloneSlots keeps an Unwrapper from changing what is about to be used.
func cloneSlots(slots []Slot) []Slot {
	out := make([]Slot, len(slots))
	for i, s := range slots {
		s.Ref = s.Ref.clone()
		out[i] = s
	}
	return out
}

// wrap asks w for a slot. The DEK goes there in its protected place.
func wrap(ctx context.Context, w Wrapper, dek *secret.Bytes) (Slot, error) {
	slot, err := w.Wrap(ctx, dek.Expose())
	runtime.KeepAlive(dek)
	if err != nil {
		return Slot{}, fmt.Errorf("wrap data key: %w", err)
	}
	slot.Ref = slot.Ref.clone()
	return slot, nil
}

// Rewrap returns a header in which the slot that u opens is replaced by one of
// w; the other slots stay. The body isn't touched and stays valid, with the old
// header too: Rewrap serves rotation, not the answer to a compromise. With equal
// partition settings the new header has the size of the old.
//
// A lone slot may move to another domain; with several, w's must be the same.
// Errors: those of opening the header, and of w.
func Rewrap(ctx context.Context, u Unwrapper, w Wrapper, header []byte) ([]byte, error) {
	h, err := openHeader(ctx, u, header)
	if err != nil {
		return nil, err
	}
	defer h.dek.Wipe()
	slot, err := wrap(ctx, w, h.dek)
	if err != nil {
		return nil, err
	}
	h.slots[h.chosen] = slot
	raw, err := encodeHeader(h.slots, h.dek)
	if err != nil {
		return nil, fmt.Errorf("rewrap header: %w", err)
	}
	return raw, nil
}
