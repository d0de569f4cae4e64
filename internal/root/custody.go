// SPDX-License-Identifier: Apache-2.0

package root

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"claviger/internal/secret"
)

// Sealing says what a root secret is sealed under: a passphrase, a key or
// shares, exactly one of them.
type Sealing struct {
	Passphrase *secret.Bytes // MinPassphrase to MaxPassphrase bytes, taken as they are
	Cost       Cost          // of the passphrase

	Key *secret.Bytes // MinKey to MaxKey bytes, as ReadKey returns them

	Recipients []string // of the custodians: age1… or age1pq1…, each once, at most MaxShares
	Threshold  int      // how many of them open the root

	// Keep, if set, gets a copy of every new share before it is sealed, so that
	// a drill can open the root as the custodians will. Who gets it wipes it.
	Keep func(share *secret.Bytes)
}

// Unlock is what opens a root: the passphrase, the key, or as many shares as
// the threshold says, decrypted. Members that don't fit the root's kind are
// ignored. The caller keeps and wipes all of it.
type Unlock struct {
	Passphrase *secret.Bytes
	Key        *secret.Bytes
	Shares     []*secret.Bytes
}

// Kind is what a root is sealed under.
type Kind string

// The kinds of custody.
const (
	KindPassphrase Kind = "passphrase"
	KindKeyFile    Kind = "key file"
	KindShares     Kind = "shares"
)

// Info is what a custody file tells without being unlocked. Nothing of it is
// proved before the root is opened.
type Info struct {
	Kind        Kind
	Generation  uint64
	Fingerprint [Size]byte
	Cost        Cost        // of a passphrase
	Sharing     []byte      // id of the sharing, 16 bytes
	Threshold   int         // of shares: how many open the root
	Custodians  []Custodian // of shares, by index
}

// Custodian is one holder of a share.
type Custodian struct {
	Index       int    // from 1
	Recipient   string // age1… or age1pq1…
	PostQuantum bool   // the share is sealed with a hybrid post-quantum recipient
}

// Create makes a new root secret and its custody file in dir, which is made
// with mode 0700 if it is missing. It never replaces a custody file: an
// existing one gives an error that wraps os.ErrExist. The secret that is
// returned is the one that was sealed; before relying on it, Drill.
func Create(dir string, generation uint64, how Sealing) (*Secret, error) {
	s := newSecret(secret.Random(Size), generation)
	err := s.save(dir, how, false)
	if err != nil {
		s.Wipe()
		return nil, fmt.Errorf("create root: %w", err)
	}
	return s, nil
}

// Reseal replaces the custody file in dir by one that seals the same secret
// under how. The file in dir must be of that secret. Until the new one is
// complete and durable the old one stays.
func Reseal(dir string, s *Secret, how Sealing) error {
	old, err := read(dir)
	if err != nil {
		return err
	}
	if !bytes.Equal(old.Fingerprint, s.fingerprint[:]) || old.Generation != s.generation {
		return errors.New("reseal root: the custody file is of another root")
	}
	if err := s.save(dir, how, true); err != nil {
		return fmt.Errorf("reseal root: %w", err)
	}
	return nil
}

func (s *Secret) save(dir string, how Sealing, replace bool) error {
	f := &custodyFile{Format: formatName, Version: formatVersion, Generation: s.generation, Fingerprint: s.fingerprint[:]}
	if err := s.sealInto(f, how); err != nil {
		return err
	}
	data, err := f.encode()
	if err != nil {
		return err
	}
	if _, err := decode(data); err != nil { // what can't be read back is never written
		return err
	}
	if err := makeDir(dir); err != nil {
		return err
	}
	return write(dir, data, replace)
}

func (s *Secret) sealInto(f *custodyFile, how Sealing) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	shares := len(how.Recipients) != 0 || how.Threshold != 0
	switch {
	case s.bytes == nil:
		return ErrWiped
	case how.Passphrase != nil && how.Key == nil && !shares:
		return f.sealPassphrase(s.bytes, how.Passphrase, how.Cost)
	case how.Key != nil && how.Passphrase == nil && !shares:
		return f.sealKey(s.bytes, how.Key)
	case shares && how.Passphrase == nil && how.Key == nil:
		return f.sealShares(s.bytes, how)
	}
	return errors.New("a passphrase, a key file or custodians are wanted, one of them")
}

// Open unseals the root in dir. A wrong passphrase gives ErrWrongPassphrase, a
// wrong key ErrWrongKey, shares that can't be used BadSharesError, too few
// *MissingSharesError, a changed file ErrDamaged, one of a newer program
// ErrVersion, a missing one os.ErrNotExist; all wrapped.
func Open(dir string, with Unlock) (*Secret, error) {
	f, err := read(dir)
	if err != nil {
		return nil, err
	}
	root, err := f.open(with)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	s := newSecret(root, f.Generation)
	if !bytes.Equal(s.fingerprint[:], f.Fingerprint) {
		s.Wipe()
		return nil, fmt.Errorf("open root: %w: it gives another secret than it names", ErrDamaged)
	}
	return s, nil
}

func (f *custodyFile) open(with Unlock) (*secret.Bytes, error) {
	switch {
	case f.Passphrase != nil && with.Passphrase != nil:
		return f.openPassphrase(with.Passphrase)
	case f.KeyFile != nil && with.Key != nil:
		return f.openKey(with.Key)
	case f.Shares != nil:
		return f.openShares(with.Shares)
	}
	return nil, fmt.Errorf("it is sealed under a %s, which is not given", f.kind())
}

func (f *custodyFile) kind() Kind {
	switch {
	case f.Passphrase != nil:
		return KindPassphrase
	case f.KeyFile != nil:
		return KindKeyFile
	}
	return KindShares
}

// Drill opens the root in dir from what is on disk and in with, wipes it, and
// returns the fingerprint of what it recovered. Run it in a fresh process after
// Create: it then depends on nothing that only the creating process had.
func Drill(dir string, with Unlock) ([Size]byte, error) {
	s, err := Open(dir, with)
	if err != nil {
		return [Size]byte{}, err
	}
	s.Wipe()
	return s.Fingerprint(), nil
}

// Describe tells how the root in dir is sealed, without opening it.
func Describe(dir string) (Info, error) {
	f, err := read(dir)
	if err != nil {
		return Info{}, err
	}
	described := Info{Kind: f.kind(), Generation: f.Generation, Fingerprint: [Size]byte(f.Fingerprint)}
	if f.Passphrase != nil {
		described.Cost = f.Passphrase.Cost
	}
	if f.Shares != nil {
		described.Sharing = f.Shares.Sharing
		described.Threshold = f.Shares.Threshold
		for i := range f.Shares.Custodians {
			described.Custodians = append(described.Custodians, f.Shares.custodian(i+1))
		}
	}
	return described, nil
}

func (s *shareSet) custodian(index int) Custodian {
	recipient := s.Custodians[index-1].Recipient
	return Custodian{Index: index, Recipient: recipient, PostQuantum: strings.HasPrefix(recipient, "age1pq1")}
}

var errNotShared = errors.New("root is not sealed in shares")

// SealedShare returns the share of the given index, from 1, as an armored age
// file for its custodian: `age -d -i IDENTITY FILE` prints the share.
func SealedShare(dir string, index int) ([]byte, error) {
	f, err := read(dir)
	if err != nil {
		return nil, err
	}
	if f.Shares == nil {
		return nil, errNotShared
	}
	if index < 1 || index > len(f.Shares.Custodians) {
		return nil, fmt.Errorf("root has no share %d (1 to %d)", index, len(f.Shares.Custodians))
	}
	return []byte(f.Shares.Custodians[index-1].Sealed), nil
}

// CheckShare judges one decrypted share alone and returns whose it is. A share
// that can't be used gives BadSharesError with that one share.
func CheckShare(dir string, share *secret.Bytes) (Custodian, error) {
	f, err := read(dir)
	if err != nil {
		return Custodian{}, err
	}
	if f.Shares == nil {
		return Custodian{}, errNotShared
	}
	parsed, err := parseShare(share)
	if err != nil {
		return Custodian{}, BadSharesError{{Position: 1, Problem: err.Error()}}
	}
	defer parsed.wipe()
	if err := f.judge(parsed); err != nil {
		return Custodian{}, BadSharesError{f.badShare(1, parsed, err)}
	}
	return f.Shares.custodian(parsed.place.index), nil
}

// Export returns the custody file of dir as it is, for a backup.
func Export(dir string) ([]byte, error) {
	f, err := read(dir)
	if err != nil {
		return nil, err
	}
	return f.encode() // what read accepted is what encode gives
}

// Import writes a custody file that Export returned into dir, on the terms of
// Create. It checks the form; only opening proves the rest.
func Import(dir string, data []byte) error {
	_, err := decode(data)
	if err == nil {
		err = makeDir(dir)
	}
	if err == nil {
		err = write(dir, data, false)
	}
	if err != nil {
		return fmt.Errorf("import root: %w", err)
	}
	return nil
}
