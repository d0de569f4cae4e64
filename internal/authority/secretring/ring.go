// SPDX-License-Identifier: Apache-2.0

package secretring

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"claviger/internal/authority/keyring"
	"claviger/internal/wire"
)

// KindWritten is the kind of a server's record that a secret changed; its payload
// is a [Written].
const KindWritten = "secret.written"

// Bounds of secrets.
const (
	MaxName    = 512       // bytes
	MaxParts   = 64        // of a name
	MaxSecrets = 1_000_000 // names at one time
)

// Written is what a server says of a secret that it has just changed.
type Written struct {
	_        struct{} `cbor:",toarray"`
	Name     string
	Revision uint64     // one more than before; see Ring.Next
	Slot     wire.Hash  // SHA-256 of the sealed document; zero: the secret is gone
	Key      wire.KeyID // that backs the secret, for good
	Version  uint64     // of the key, that sealed the document
}

// Secret is what the log says of a secret. It never changes: the next record makes
// another one.
type Secret struct {
	_ struct{} `cbor:",toarray"`
	Written
	Time int64 // of the record, Unix milliseconds
}

// ValidName reports whether s can name a secret: UTF-8 of parts with single
// slashes between, none of them "." or "..", without control characters. The rule
// is part of the fold; policies know a narrower one.
func ValidName(s string) bool {
	if s == "" || len(s) > MaxName || !utf8.ValidString(s) || strings.Count(s, "/") >= MaxParts {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 })
}

// Hash names a secret where its name must not stand: in slots' keys and as the
// partition of its key.
func Hash(name string) wire.Hash { return wire.Sum("secret-name", []byte(name)) }

// Object names a secret as an object of the log.
func Object(name string) string { return "secret:" + name }

// Ring is the secrets of a domain. Its zero value has none.
type Ring struct {
	// Floor is the highest revision of any secret that went: a name that begins
	// (again) begins above it.
	Floor uint64

	top   node
	count int
}

// node is a part of names: a secret, a folder, or both.
type node struct {
	secret *Secret
	parts  map[string]*node
}

// Len is the number of secrets.
func (r *Ring) Len() int { return r.count }

// Get returns a secret, nil without one.
func (r *Ring) Get(name string) *Secret {
	if n := r.find(name); n != nil {
		return n.secret
	}
	return nil
}

func (r *Ring) find(name string) *node {
	n := &r.top
	for part := range strings.SplitSeq(name, "/") {
		if n = n.parts[part]; n == nil {
			return nil
		}
	}
	return n
}

// Next is the revision that the next record about a name has to say.
func (r *Ring) Next(name string) uint64 {
	if s := r.Get(name); s != nil {
		return s.Revision + 1
	}
	return r.Floor + 1
}

// Item is one entry of a folder.
type Item struct {
	Name   string // the part alone
	Folder bool   // it is a folder; a secret of the same name is an item of its own
}

// List yields the entries of a folder in order, a secret before the folder of its
// name.
func (r *Ring) List(folder string) iter.Seq[Item] {
	return func(yield func(Item) bool) {
		n := r.find(folder)
		if n == nil {
			return
		}
		for _, part := range slices.Sorted(maps.Keys(n.parts)) {
			child := n.parts[part]
			if child.secret != nil && !yield(Item{Name: part}) || len(child.parts) > 0 && !yield(Item{part, true}) {
				return
			}
		}
	}
}

// Below yields every secret under a folder, at any depth, not that of the folder's
// own name. Those of one folder come in order.
func (r *Ring) Below(folder string) iter.Seq[*Secret] {
	return func(yield func(*Secret) bool) {
		if n := r.find(folder); n != nil {
			n.walk(yield)
		}
	}
}

func (n *node) walk(yield func(*Secret) bool) bool {
	for _, part := range slices.Sorted(maps.Keys(n.parts)) {
		child := n.parts[part]
		if child.secret != nil && !yield(child.secret) || !child.walk(yield) {
			return false
		}
	}
	return true
}

// put sets the secret of a name.
func (r *Ring) put(s *Secret) {
	n := &r.top
	for part := range strings.SplitSeq(s.Name, "/") {
		next := n.parts[part]
		if next == nil {
			if next = new(node); n.parts == nil {
				n.parts = map[string]*node{}
			}
			n.parts[part] = next
		}
		n = next
	}
	if n.secret == nil {
		r.count++
	}
	n.secret = s
}

// remove forgets a name, and folders that are empty then.
func (r *Ring) remove(name string) {
	path := []*node{&r.top}
	parts := strings.Split(name, "/")
	for _, part := range parts {
		path = append(path, path[len(path)-1].parts[part])
	}
	path[len(parts)].secret = nil
	r.count--
	for i := len(parts); i > 0 && path[i].secret == nil && len(path[i].parts) == 0; i-- {
		delete(path[i-1].parts, parts[i-1])
	}
}

// Plan decodes a record's payload and says what it would do, or why it does
// nothing. Key finds the key of an id.
func (r *Ring) Plan(payload []byte, link wire.Link, key func(wire.KeyID) *keyring.Key) (name string, apply func(), err error) {
	var p Written
	if err := wire.Unmarshal(payload, &p, 2*MaxName); err != nil {
		return "", nil, err
	}
	if err := r.check(&p, key(p.Key)); err != nil {
		return "", nil, err
	}
	return p.Name, func() {
		if !p.Slot.IsZero() {
			r.put(&Secret{Written: p, Time: link.Time})
			return
		}
		r.Floor = max(r.Floor, p.Revision)
		r.remove(p.Name)
	}, nil
}

var errKey = errors.New("the key that backs the secret is not the one that its name says, or is no aes256 key")

func (r *Ring) check(p *Written, k *keyring.Key) error {
	have := r.Get(p.Name)
	switch {
	case !ValidName(p.Name):
		return errors.New("the secret's name is not usable")
	case k == nil || k.Algorithm != keyring.AES256 || !Backs(k.Name, p.Name):
		return errKey
	// Security: a name has one key for good. Under another one a secret would be
	// open to whom that one is.
	case have != nil && have.Key != p.Key:
		return errKey
	// Security: of two servers that changed one revision, one was first; the
	// other looks again (T-86).
	case p.Revision != r.Next(p.Name):
		return fmt.Errorf("revision %d does not follow: the secret was changed meanwhile", p.Revision)
	case p.Slot.IsZero() && have == nil:
		return errors.New("there is no such secret")
	case p.Slot.IsZero():
		return nil
	case have == nil && r.count >= MaxSecrets:
		return fmt.Errorf("there are %d secrets already", MaxSecrets)
	}
	return sealable(k, p.Version)
}

// sealable says why nothing new may be sealed under a version. The state of the
// moment decides, so that nothing slips in behind a disable or an order to destroy.
func sealable(k *keyring.Key, version uint64) error {
	v := k.Version(version)
	switch {
	case k.Disabled:
		return errors.New("the key is disabled")
	case v == nil || v.State != wire.StateActive || v.DestroyAt != 0:
		return fmt.Errorf("version %d of the key is not active", version)
	}
	return nil
}

// Backs reports whether a key of this name may back a secret: the secret lies in
// the folder of the key's name, or is that folder itself.
func Backs(key, name string) bool {
	rest, ok := strings.CutPrefix(name, key)
	return ok && (rest == "" || rest[0] == '/')
}

// Clone returns a Ring of its own with the same secrets.
func (r *Ring) Clone() Ring {
	out := Ring{Floor: r.Floor}
	for s := range r.all() {
		out.put(s)
	}
	return out
}

func (r *Ring) all() iter.Seq[*Secret] {
	return func(yield func(*Secret) bool) { r.top.walk(yield) }
}

// Rows lists every secret. It copies none, so it takes a moment only.
func (r *Ring) Rows() []*Secret {
	out := make([]*Secret, 0, r.count)
	return slices.AppendSeq(out, r.all())
}

// Add adds secrets that must be new, or returns wire.ErrMalformed.
func (r *Ring) Add(rows []Secret) error {
	for i := range rows {
		s := &rows[i]
		if !ValidName(s.Name) || s.Slot.IsZero() || r.Get(s.Name) != nil {
			return fmt.Errorf("%w: a secret's row", wire.ErrMalformed)
		}
		r.put(s)
	}
	return nil
}
