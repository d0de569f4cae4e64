// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Bounds of a document.
const (
	MaxData     = 512 << 10 // bytes of one version's data
	MaxDocument = 3 << 20   // bytes of the encoded document
	MaxVersions = 1000      // that are kept
	MaxTags     = 64
	MaxTagName  = 128 // bytes
	MaxTagValue = 512 // bytes
	maxAfter    = 100 * 365 * 24 * 3600

	// DefaultVersions are kept where nobody says anything.
	DefaultVersions = 10

	shape = 1
)

// Errors of what is asked of a document.
var (
	ErrInvalid     = errors.New("this can't be kept as a secret")
	ErrTooLarge    = errors.New("the secret is too large")
	ErrMismatch    = errors.New("the secret is at another version than the one named")
	ErrCASRequired = errors.New("a change has to name the version that it changes")
	ErrNoVersion   = errors.New("there is no such version") // or it is deleted or destroyed
)

// Settings say how versions are kept: of a folder for all in it, or of one secret.
type Settings struct {
	_           struct{} `cbor:",toarray"`
	MaxVersions uint64   // 0: as the folder says, there DefaultVersions
	CASRequired bool     // a change names the version that it changes
	DeleteAfter int64    // seconds until a version is deleted; 0: never, or as the folder says; of a folder -1: not even where a secret says so
}

// Tag is one word about a secret that its users chose.
type Tag struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	Value string
}

// Version of a secret.
type Version struct {
	_         struct{} `cbor:",toarray"`
	Number    uint64
	Created   int64 // Unix milliseconds
	Deletes   int64 // likewise: deleted from then on, until undeleted; 0: not
	Destroyed bool  // for good; its data is gone
	Data      []byte
}

// Live reports whether a version has data to read at a time (Unix milliseconds).
func (v *Version) Live(now int64) bool {
	return v != nil && !v.Destroyed && (v.Deletes == 0 || v.Deletes > now)
}

// Document is a secret with all its versions.
type Document struct {
	_        struct{} `cbor:",toarray"`
	Shape    uint64
	Created  int64  // Unix milliseconds
	Updated  int64  // when the newest version came
	Current  uint64 // number of the newest version that ever was; 0: none
	Settings Settings
	Tags     []Tag // by name, in order
	Versions []Version
}

// New returns a document without versions.
func New(now time.Time) *Document {
	ms := now.UnixMilli()
	return &Document{Shape: shape, Created: ms, Updated: ms}
}

// Encode returns the document's bytes, or ErrTooLarge. The caller wipes them.
func (d *Document) Encode() ([]byte, error) {
	size := 4096
	for i := range d.Versions {
		size += len(d.Versions[i].Data) + 64
	}
	if size > MaxDocument {
		return nil, fmt.Errorf("%w: its versions take more than %d bytes together; destroy some, or keep fewer", ErrTooLarge, MaxDocument)
	}
	return wire.Marshal(d), nil
}

// Decode reads what Encode made, or returns wire.ErrMalformed. The document has
// data of its own.
func Decode(data []byte) (*Document, error) {
	var d Document
	if err := wire.Unmarshal(data, &d, MaxDocument); err != nil {
		return nil, err
	}
	last := uint64(0)
	for _, v := range d.Versions {
		if v.Number <= last || v.Destroyed && len(v.Data) > 0 {
			return nil, fmt.Errorf("%w: versions of a secret", wire.ErrMalformed)
		}
		last = v.Number
	}
	if d.Shape != shape || last != d.Current {
		return nil, fmt.Errorf("%w: shape or newest version of a secret", wire.ErrMalformed)
	}
	return &d, nil
}

// Wipe clears all data.
func (d *Document) Wipe() {
	for i := range d.Versions {
		secret.Wipe(d.Versions[i].Data)
		d.Versions[i].Data = nil
	}
}

// Oldest is the number of the oldest version that is kept, destroyed ones
// included; 0 while none was dropped.
func (d *Document) Oldest() uint64 {
	if len(d.Versions) == 0 || d.Versions[0].Number == 1 {
		return 0
	}
	return d.Versions[0].Number
}

// Find returns a version, nil if it isn't kept; 0 is the newest.
func (d *Document) Find(number uint64) *Version {
	if number == 0 {
		number = d.Current
	}
	i, ok := slices.BinarySearchFunc(d.Versions, number, func(v Version, n uint64) int { return cmp.Compare(v.Number, n) })
	if !ok {
		return nil
	}
	return &d.Versions[i]
}

// CAS is a change's word on which version it changes: nil says nothing, 0 that
// there is none.
type CAS = *uint64

func (d *Document) check(cas CAS, folder Settings) error {
	switch {
	case cas != nil && *cas != d.Current:
		return ErrMismatch
	case cas == nil && (folder.CASRequired || d.Settings.CASRequired):
		return ErrCASRequired
	}
	return nil
}

// Put adds a version. Data is a JSON object; the document keeps a compact copy.
// Versions beyond those that folder or secret keep are dropped with their data.
func (d *Document) Put(now time.Time, data []byte, cas CAS, folder Settings) (*Version, error) {
	if err := d.check(cas, folder); err != nil {
		return nil, err
	}
	compact, err := Object(data)
	if err != nil {
		return nil, err
	}
	return d.add(now, compact, folder), nil
}

// Patch adds a version that is the newest one with a JSON merge patch applied, or
// returns ErrNoVersion if that one can't be read.
func (d *Document) Patch(now time.Time, patch []byte, cas CAS, folder Settings) (*Version, error) {
	have := d.Find(0)
	if have == nil {
		return nil, ErrNoVersion
	}
	if err := d.check(cas, folder); err != nil {
		return nil, err
	}
	if !have.Live(now.UnixMilli()) {
		return nil, ErrNoVersion
	}
	merged, err := Merge(have.Data, patch)
	if err != nil {
		return nil, err
	}
	return d.add(now, merged, folder), nil
}

func (d *Document) add(now time.Time, data []byte, folder Settings) *Version {
	d.Updated = now.UnixMilli()
	d.Current++
	d.Versions = append(d.Versions, Version{Number: d.Current, Created: d.Updated, Deletes: d.deletes(d.Updated, folder), Data: data})
	keep := d.Settings.MaxVersions
	if keep == 0 {
		keep = folder.MaxVersions
	}
	if keep == 0 {
		keep = DefaultVersions
	}
	for len(d.Versions) > 0 && d.Versions[0].Number+keep <= d.Current {
		secret.Wipe(d.Versions[0].Data)
		d.Versions = slices.Delete(d.Versions, 0, 1)
	}
	return &d.Versions[len(d.Versions)-1]
}

// deletes is when a version that is made or undeleted now deletes itself: the
// sooner of what folder and secret say.
func (d *Document) deletes(now int64, folder Settings) int64 {
	after := folder.DeleteAfter
	if own := d.Settings.DeleteAfter; after == 0 || own > 0 && own < after {
		after = own
	}
	if after <= 0 {
		return 0
	}
	return now + after*1000
}

// each edits versions by number; those that are not kept, or are destroyed, stay
// out. No numbers at all mean the newest.
func (d *Document) each(numbers []uint64, edit func(*Version)) {
	if len(numbers) == 0 {
		numbers = []uint64{0}
	}
	for _, n := range numbers {
		if v := d.Find(n); v != nil && !v.Destroyed {
			edit(v)
		}
	}
}

// Delete makes versions unreadable until they are undeleted.
func (d *Document) Delete(now time.Time, numbers []uint64) {
	ms := now.UnixMilli()
	d.each(numbers, func(v *Version) {
		if v.Live(ms) {
			v.Deletes = ms
		}
	})
}

// Undelete makes deleted versions readable again, until folder or secret delete
// them once more.
func (d *Document) Undelete(now time.Time, numbers []uint64, folder Settings) {
	d.each(numbers, func(v *Version) { v.Deletes = d.deletes(now.UnixMilli(), folder) })
}

// Destroy removes the data of versions for good.
func (d *Document) Destroy(numbers []uint64) {
	d.each(numbers, func(v *Version) {
		secret.Wipe(v.Data)
		v.Data, v.Destroyed = nil, true
	})
}

// Change is a change of a secret's settings and tags; what is nil stays.
type Change struct {
	MaxVersions *uint64
	CASRequired *bool
	DeleteAfter *int64
	Tags        *[]Tag             // all of them; for Configure to sort
	Retag       map[string]*string // some of them: nil removes
	Existing    bool               // ErrNoVersion if there is no secret yet
}

// Configure changes settings and tags, or returns ErrInvalid.
func (d *Document) Configure(c Change) error {
	next := d.Settings
	if c.MaxVersions != nil {
		next.MaxVersions = *c.MaxVersions
	}
	if c.CASRequired != nil {
		next.CASRequired = *c.CASRequired
	}
	if c.DeleteAfter != nil {
		next.DeleteAfter = *c.DeleteAfter
	}
	if next.MaxVersions > MaxVersions || next.DeleteAfter > maxAfter || next.DeleteAfter < -1 {
		return fmt.Errorf("%w: settings out of bounds: at most %d versions, 100 years", ErrInvalid, MaxVersions)
	}
	tags := slices.Clone(d.Tags)
	if c.Tags != nil {
		tags = slices.Clone(*c.Tags)
	}
	for name, value := range c.Retag {
		tags = slices.DeleteFunc(tags, func(t Tag) bool { return t.Name == name })
		if value != nil {
			tags = append(tags, Tag{Name: name, Value: *value})
		}
	}
	slices.SortFunc(tags, func(a, b Tag) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	if err := checkTags(tags); err != nil {
		return err
	}
	d.Settings, d.Tags = next, tags
	return nil
}

func checkTags(tags []Tag) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("%w: payload must contain at most %d keys, provided %d", ErrInvalid, MaxTags, len(tags))
	}
	for i, t := range tags {
		switch {
		case t.Name == "" || len(t.Name) > MaxTagName:
			return fmt.Errorf("%w: length of key %q is %d but must be 0 < len(key) <= %d", ErrInvalid, t.Name, len(t.Name), MaxTagName)
		case t.Value == "" || len(t.Value) > MaxTagValue:
			return fmt.Errorf("%w: length of value for key %q is %d but must be 0 < len(value) <= %d", ErrInvalid, t.Name, len(t.Value), MaxTagValue)
		case !printable(t.Name) || !printable(t.Value):
			return fmt.Errorf("%w: key %q or its value contains unprintable characters", ErrInvalid, t.Name)
		case i > 0 && tags[i-1].Name == t.Name:
			return fmt.Errorf("%w: key %q is there twice", ErrInvalid, t.Name)
		}
	}
	return nil
}

func printable(s string) bool {
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
