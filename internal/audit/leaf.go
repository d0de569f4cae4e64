// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"claviger/internal/wire"
)

// Kind says what a leaf records.
type Kind string

// The kinds of leaf. Start and stop are written by the log itself.
const (
	Decision Kind = "decision" // one item of one request, allowed or denied
	Outcome  Kind = "outcome"  // how an allowed change of state ended; Of names its decision
	Refusals Kind = "refusals" // Count refused requests of one caller, beyond its budget
	Alarm    Kind = "alarm"    // something that an operator has to look at
	Start    Kind = "start"    // the log was opened; Previous names a closed log that it follows
	Stop     Kind = "stop"     // the log was closed in order
)

// What a start leaf says in Action.
const (
	ActionFirst    = "first"    // there was no log before
	ActionContinue = "continue" // the process began again, the log goes on
	ActionRoll     = "roll"     // the log before was full
	ActionGiveUp   = "give-up"  // the log before could not be trusted; Reason says why
)

// Bounds of a leaf.
const (
	MaxLeaf   = 16 << 10 // bytes of an encoded leaf
	maxText   = 512      // bytes of a text field
	maxList   = 64       // elements of a list field
	leafShape = 1        // the one version of Leaf
)

// ErrLeaf says that a leaf is not one that this log takes: an unknown kind, a
// field beyond its bounds, or text with control characters.
var ErrLeaf = errors.New("leaf not well formed")

// Position names a leaf for ever: the number of its log and its index there,
// from 0.
type Position struct {
	_     struct{} `cbor:",toarray"`
	Log   uint64
	Index uint64
}

// String gives the position as log/index.
func (p Position) String() string { return fmt.Sprintf("%d/%d", p.Log, p.Index) }

// End is how a closed log was left: its number, and the size and root hash that
// its last checkpoint says, or that were found when it was given up.
type End struct {
	_      struct{} `cbor:",toarray"`
	Number uint64   // 0: there is no log before this one
	Size   uint64   // leaves
	Root   wire.Hash
}

// Leaf is one record. Its fields are an allow-list: names, numbers, hashes and
// short reasons. None may ever carry key material, a credential, a plaintext or
// a request's body. Zero values stand for "does not apply".
type Leaf struct {
	_          struct{} `cbor:",toarray"`
	Shape      uint64   // set by Enter
	Time       int64    // Unix milliseconds, the time the decision used; set by Enter if zero
	Kind       Kind
	Request    wire.Hash // hash of the sealed request, or of what a door received
	Item       uint64    // the item's number in that request, from 0
	Caller     string    // who asked, as policy names them
	Action     string    // what for
	Operations []string  // what a released key will be used for
	Resource   string    // key or secret by name
	KeyID      wire.KeyID
	Version    uint64 // key version
	Purpose    string
	Partition  []byte // public, at most 256 bytes
	Route      string // by which door or route
	Stated     string // the caller's own reason
	Epoch      wire.Epoch
	Decision   string      // wire.DecisionAllowed or wire.DecisionDenied; of an outcome "done" or "failed"
	Reason     string      // why
	Policies   []string    // ids of the policies that decided
	Attributes []wire.Hash // blobs: the attribute records that the decision used
	PolicySet  wire.Hash   // blob
	Schema     wire.Hash   // blob
	KC         wire.Hash   // commitment of the key that was released or used
	Lease      uint64      // seconds
	Of         Position    // of an outcome: its decision. The zero position elsewhere
	Count      uint64      // of refusals
	Previous   End         // of a start

	// Record is the attribute record that the decision used, if the caller has one
	// (package attributes). It is not of the leaf: Enter stores it as a blob unless
	// the log has it, and names it in Attributes.
	Record []byte `cbor:"-"`
}

// Allowed reports whether the leaf records a permission.
func (l *Leaf) Allowed() bool { return l.Decision == wire.DecisionAllowed }

// encode checks the leaf and returns its bytes: deterministic CBOR.
func (l *Leaf) encode() ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	body := l.appendCBOR(make([]byte, 0, 512))
	if len(body) > MaxLeaf {
		return nil, fmt.Errorf("%w: %d bytes", ErrLeaf, len(body))
	}
	return body, nil
}

// ParseLeaf reads an encoded leaf. What [Log.Enter] would not have written is
// refused: wire.ErrMalformed for another encoding, [ErrLeaf] for another
// content.
func ParseLeaf(body []byte) (*Leaf, error) {
	var l Leaf
	if err := wire.Unmarshal(body, &l, MaxLeaf); err != nil {
		return nil, fmt.Errorf("parse leaf: %w", err)
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	return &l, nil
}

func (l *Leaf) check() error {
	switch l.Kind {
	case Decision, Outcome, Refusals, Alarm, Start, Stop:
	default:
		return fmt.Errorf("%w: kind", ErrLeaf)
	}
	if l.Shape != leafShape {
		return fmt.Errorf("%w: shape %d", ErrLeaf, l.Shape)
	}
	if l.Time <= 0 {
		return fmt.Errorf("%w: time", ErrLeaf)
	}
	if len(l.Partition) > wire.MaxPartition {
		return fmt.Errorf("%w: partition", ErrLeaf)
	}
	if l.Kind == Decision && !l.Allowed() && l.Decision != wire.DecisionDenied {
		return fmt.Errorf("%w: decision", ErrLeaf)
	}
	if l.Kind != Start && l.Previous != (End{}) {
		return fmt.Errorf("%w: previous log", ErrLeaf)
	}
	return l.checkTexts()
}

func (l *Leaf) checkTexts() error {
	if len(l.Operations) > maxList || len(l.Policies) > maxList || len(l.Attributes) > maxList {
		return fmt.Errorf("%w: list too long", ErrLeaf)
	}
	texts := [...]string{l.Caller, l.Action, l.Resource, l.Purpose, l.Route, l.Stated, l.Decision, l.Reason}
	for _, list := range [...][]string{texts[:], l.Operations, l.Policies} {
		for _, s := range list {
			if !validText(s) {
				return fmt.Errorf("%w: text", ErrLeaf)
			}
		}
	}
	return nil
}

// validText keeps out what could forge a line or a colour on an auditor's
// terminal: control and format characters.
func validText(s string) bool {
	if len(s) > maxText {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return c >= 0x80 && validUnicode(s) // rare, and dearer
		}
	}
	return true
}

func validUnicode(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// blobs calls f with every blob that the leaf names.
func (l *Leaf) blobs(f func(wire.Hash)) {
	for _, h := range l.Attributes {
		f(h)
	}
	for _, h := range [...]wire.Hash{l.PolicySet, l.Schema} {
		if !h.IsZero() {
			f(h)
		}
	}
}
