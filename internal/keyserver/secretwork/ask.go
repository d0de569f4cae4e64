// SPDX-License-Identifier: Apache-2.0

package secretwork

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"claviger/internal/authority"
	"claviger/internal/authority/secretring"
	"claviger/internal/keyserver/rules"
	"claviger/internal/members"
	"claviger/internal/policy"
	"claviger/internal/secrets"
	"claviger/internal/wire"
)

// Operation is what can be done with a secret.
type Operation string

// The operations. Those that write take action secret:write, the others
// secret:read; a list takes either.
const (
	Read      Operation = "read"      // a version, 0: the newest
	Describe  Operation = "describe"  // all but the data
	List      Operation = "list"      // of a folder: what the caller may read or write
	Put       Operation = "put"       // a new version
	Patch     Operation = "patch"     // a new version: the newest with a merge patch applied
	Delete    Operation = "delete"    // versions, so that they can be undeleted; none named: the newest
	Undelete  Operation = "undelete"  // versions
	Destroy   Operation = "destroy"   // the data of versions, for good
	Configure Operation = "configure" // settings and tags; with an empty Path those of the folder
	Forget    Operation = "forget"    // the secret with all its versions
)

// Ask is one operation on one secret. Its name is that of the key that backs it, a
// slash and the path.
type Ask struct {
	Operation Operation
	Key       string // name of the backing key
	Path      string // below it; empty for Describe, Configure and List of the folder itself
	Version   uint64
	Versions  []uint64
	Data      []byte // of Put and Patch: a JSON object; the asker wipes it
	CAS       secrets.CAS
	Change    secrets.Change // of Configure
	Request   wire.Hash      // hash of what the door received
	Index     uint64
	Route     string
	Asked     map[string]string // as of Use
}

// maxVersionsNamed bounds the versions that one Ask names.
const maxVersionsNamed = secrets.MaxVersions

func (a *Ask) name() string {
	if a.Path == "" {
		return a.Key
	}
	return a.Key + "/" + a.Path
}

func (a *Ask) writes() bool {
	switch a.Operation {
	case Put, Patch, Delete, Undelete, Destroy, Configure, Forget:
		return true
	}
	return false
}

func (a *Ask) action() string {
	if a.writes() {
		return "secret:write"
	}
	return "secret:read"
}

// check refuses what is no sound question, before anything is decided.
func (a *Ask) check() error {
	switch a.Operation {
	case Describe, Configure, List:
	case Read, Put, Patch, Delete, Undelete, Destroy, Forget:
		if a.Path == "" {
			return fmt.Errorf("%w: it has no name", secrets.ErrInvalid)
		}
	default:
		return fmt.Errorf("%w: unknown operation", secrets.ErrInvalid)
	}
	if !wire.ValidKeyName(a.Key) || !validName(a.probe()) || len(a.Versions) > maxVersionsNamed {
		return fmt.Errorf("%w: its name or versions", secrets.ErrInvalid)
	}
	return nil
}

// probe is the longest name that policy is asked about.
func (a *Ask) probe() string {
	if a.Operation == List {
		return a.name() + "/*"
	}
	return a.name()
}

// validName reports whether the log, policies and leaves all take a name.
func validName(s string) bool {
	return secretring.ValidName(s) && policy.ValidSecret(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Version is a version of a secret without its data.
type Version struct {
	Number    uint64
	Created   time.Time
	Deletes   time.Time // zero: never
	Destroyed bool
}

// Result is what an Ask gives; each operation fills in what it is about.
type Result struct {
	Version *Version      // read, put or patched
	Data    []byte        // of Read: whoever gets it wipes it; nil if the version is deleted or destroyed
	Tags    []secrets.Tag // of the secret
	Names   []string      // of List: parts; folders end in "/"
	Secret  *Secret       // of Describe
}

// Secret is what is known of a secret besides its data.
type Secret struct {
	Created, Updated time.Time
	Current, Oldest  uint64
	Settings         secrets.Settings
	Versions         []Version
}

// Denied says that policy, or the state of the key, refuses.
type Denied struct {
	Caller    string
	Operation Operation
	Name      string
	Cause     rules.Cause
	Reason    string
}

// Error gives the refusal in one line.
func (d *Denied) Error() string {
	return d.Caller + " may not " + string(d.Operation) + " secret " + d.Name + " (" + d.Reason + ")"
}

// Gone says that what was to be patched is a version that can't be read. It is a
// secrets.ErrNoVersion.
type Gone struct{ *Result }

// Error says so.
func (*Gone) Error() string { return "the newest version of the secret is deleted or destroyed" }

// Unwrap makes a Gone a secrets.ErrNoVersion.
func (*Gone) Unwrap() error { return secrets.ErrNoVersion }

// Errors besides those of package secrets, of the log and of keys.
var (
	ErrStore   = errors.New("secrets can't be read or written now") // the store fails, or shows what the log doesn't name
	ErrTooMany = errors.New("the folder is too large to list: list a folder in it")
	ErrMoved   = errors.New("the secret was changed again and again meanwhile")
	ErrFolder  = errors.New("the secret is kept under another key")
)

// Sorted gives an error its place among those of the choke point.
func Sorted(err, malformed, refused, unavailable error) error {
	for _, class := range []struct {
		as   error
		errs []error
	}{
		{unavailable, []error{ErrStore}},
		{malformed, []error{secrets.ErrInvalid, secrets.ErrTooLarge}},
		{refused, []error{
			secrets.ErrMismatch, secrets.ErrCASRequired, secrets.ErrNoVersion, ErrTooMany, ErrFolder, authority.ErrRefused, members.ErrThreshold,
		}},
	} {
		if slices.ContainsFunc(class.errs, func(e error) bool { return errors.Is(err, e) }) {
			return fmt.Errorf("%w: %w", class.as, err)
		}
	}
	return err
}
