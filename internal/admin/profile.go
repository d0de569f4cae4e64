// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"claviger/internal/admin/authkey"
	"claviger/internal/members"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/strictjson"
	"claviger/internal/wire"
)

// Names of a profile's files.
const (
	ProfileFile   = "profile.json"  // what Profile holds
	KeyFileName   = "authority.key" // the sealed authority key
	membersFile   = "members"       // newest member chain that was accepted
	headFile      = "head"          // newest head that was seen
	recordsFile   = "records"       // the log, a cache
	verifiedFile  = "verified"      // which of its signatures were verified, a cache
	sessionFile   = "session"       // a read-only session key
	proofsDir     = "proofs"        // histories that were refused
	profileSchema = 1
	profileKind   = "admin"
	maxProfile    = 64 << 10
)

// ErrOtherDomain means that a profile is pinned to another domain.
var ErrOtherDomain = errors.New("the profile belongs to another trust domain")

// Key is an opened authority key.
type Key = authkey.Key

// Unlock is what opens an authority key.
type Unlock = authkey.Unlock

// Profile is an admin's directory. What it shows was read when it was opened.
type Profile struct {
	Name      string        // the admin's
	Demo      bool          // a profile that `claviger demo` made; only such a one takes a demo domain
	Domain    wire.DomainID // the pin; zero until Join
	Addresses []string      // host:port of servers, in order of preference
	KeyFile   string        // file whose content opens the key without a person; "" for a passphrase

	dir    string
	public []byte
}

// profileJSON is profile.json. Other kinds of profile (a workload's) have the
// same first two members.
type profileJSON struct {
	Schema    int      `json:"schema"`
	Kind      string   `json:"kind"`
	Name      string   `json:"name"`
	Demo      bool     `json:"demo"`
	Domain    string   `json:"domain,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	KeyFile   string   `json:"key_file,omitempty"`
}

// NewProfile says what CreateProfile makes.
type NewProfile struct {
	Name    string
	Demo    bool
	Unlock  Unlock
	KeyFile string    // where Unlock.Key lies, absolute or relative to the profile; only with it
	Cost    root.Cost // of the passphrase; zero is root.DefaultCost
}

// CreateProfile makes a profile with a new authority key in dir, which must be
// empty or not there, and returns it with the key. fs.ErrExist: it holds
// something already. What was begun is removed on failure.
func CreateProfile(dir string, n NewProfile) (*Profile, *Key, error) {
	if (n.KeyFile != "") != (n.Unlock.Key != nil) {
		return nil, nil, errors.New("make profile: a key file and its content come together")
	}
	key := authkey.Generate()
	p, err := createProfile(dir, n, key)
	if err != nil {
		key.Wipe()
		return nil, nil, fmt.Errorf("make profile: %w", err)
	}
	return p, key, nil
}

func createProfile(dir string, n NewProfile, key *Key) (*Profile, error) {
	sealed, err := authkey.Seal(n.Name, key, n.Unlock, n.Cost)
	if err != nil {
		return nil, err
	}
	public, err := key.Member(n.Name)
	if err != nil {
		return nil, err
	}
	if err := emptyDir(dir); err != nil {
		return nil, err
	}
	p := &Profile{Name: n.Name, Demo: n.Demo, KeyFile: n.KeyFile, dir: dir, public: public.Public}
	err = p.writeFile(KeyFileName, sealed)
	if err == nil {
		err = p.save() // last: a profile is one from here on
	}
	if err != nil {
		os.Remove(filepath.Join(dir, KeyFileName))
		os.Remove(dir) // only if nothing else is in it
		return nil, err
	}
	return p, nil
}

// OpenProfile reads a profile. fs.ErrNotExist: there is none.
func OpenProfile(dir string) (*Profile, error) {
	p := &Profile{dir: dir}
	data, err := p.readFile(ProfileFile, maxProfile)
	if err != nil {
		return nil, err
	}
	if err := p.decode(data); err != nil {
		return nil, fmt.Errorf("read profile %s: %w", dir, err)
	}
	sealed, err := p.readFile(KeyFileName, authkey.MaxFile)
	if err != nil {
		return nil, err
	}
	f, err := authkey.Read(sealed)
	if err != nil {
		return nil, err
	}
	if f.Name != p.Name {
		return nil, fmt.Errorf("read profile %s: the key is %s's, the profile %s's", dir, f.Name, p.Name)
	}
	p.public = f.Public
	return p, nil
}

func (p *Profile) decode(data []byte) error {
	var start struct {
		Schema int    `json:"schema"`
		Kind   string `json:"kind"`
	}
	if err := json.Unmarshal(data, &start); err != nil {
		return errors.New("it is no profile")
	}
	if start.Schema != profileSchema {
		return fmt.Errorf("its schema is %d, this program knows %d", start.Schema, profileSchema)
	}
	if start.Kind != profileKind {
		return fmt.Errorf("it is a profile of kind %q, not an admin's", start.Kind)
	}
	var j profileJSON
	if err := strictjson.Decode(data, &j); err != nil {
		return err
	}
	if !wire.ValidNamePart(j.Name) || len(j.Addresses) > maxAddresses {
		return errors.New("its name or addresses are not usable")
	}
	domain, err := hex.DecodeString(j.Domain)
	if err != nil || len(domain) != 0 && len(domain) != len(p.Domain) {
		return errors.New("its domain id is not usable")
	}
	copy(p.Domain[:], domain)
	p.Name, p.Demo, p.Addresses, p.KeyFile = j.Name, j.Demo, j.Addresses, j.KeyFile
	return nil
}

func (p *Profile) save() error {
	j := profileJSON{
		Schema: profileSchema, Kind: profileKind, Name: p.Name, Demo: p.Demo, Addresses: p.Addresses, KeyFile: p.KeyFile,
	}
	if p.Joined() {
		j.Domain = p.Domain.String()
	}
	data, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return p.writeFile(ProfileFile, append(data, '\n'))
}

// Dir is the profile's directory.
func (p *Profile) Dir() string { return p.dir }

// Joined reports whether the profile is pinned to a domain.
func (p *Profile) Joined() bool { return p.Domain != wire.DomainID{} }

// Member is the admin's public key as the member chain names it.
func (p *Profile) Member() members.Key { return members.Key{Name: p.Name, Public: p.public} }

// Join pins the profile to a domain and sets where its servers are. chain is the
// member chain as far as it is known (nil: whatever the server shows, as long as
// it begins with the pinned genesis). A profile that is pinned keeps its pin:
// ErrOtherDomain.
func (p *Profile) Join(domain wire.DomainID, addresses []string, chain [][]byte) error {
	if p.Joined() && p.Domain != domain {
		return ErrOtherDomain
	}
	if len(addresses) > maxAddresses {
		return fmt.Errorf("join: more than %d addresses", maxAddresses)
	}
	if chain != nil {
		if _, err := members.Verify(chain, domain); err != nil {
			return fmt.Errorf("join: %w", err)
		}
		if err := p.writeFile(membersFile, wire.Marshal(chain)); err != nil {
			return err
		}
	}
	p.Domain, p.Addresses = domain, slices.Clone(addresses)
	return p.save()
}

// Key opens the authority key. Without a passphrase it takes the profile's key
// file; if it names none, errors.Is(err, ErrLocked).
func (p *Profile) Key(passphrase *secret.Bytes) (*Key, error) {
	data, err := p.readFile(KeyFileName, authkey.MaxFile)
	if err != nil {
		return nil, err
	}
	if passphrase != nil {
		return authkey.Open(data, Unlock{Passphrase: passphrase})
	}
	if p.KeyFile == "" {
		return nil, ErrLocked
	}
	path := p.KeyFile
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.dir, path)
	}
	content, err := root.ReadKey(path)
	if err != nil {
		return nil, fmt.Errorf("open authority key: %w", err)
	}
	defer content.Wipe()
	return authkey.Open(data, Unlock{Key: content})
}

// ErrLocked means that a passphrase is needed.
var ErrLocked = errors.New("the authority key is sealed under a passphrase")

// PublicKey is the authority key's public half.
func (p *Profile) PublicKey() (crypto.PublicKey, error) { return p.Member().PublicKey() }

// chain reads the member chain that was accepted last, nil if there is none.
func (p *Profile) chain() ([][]byte, error) {
	data, err := p.readFile(membersFile, wire.MaxMembers+(1<<10))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var chain [][]byte
	if err := wire.Unmarshal(data, &chain, wire.MaxMembers+(1<<10)); err != nil {
		return nil, fmt.Errorf("read member chain of the profile: %w", err)
	}
	return chain, nil
}
