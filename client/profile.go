// SPDX-License-Identifier: Apache-2.0

package client

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"claviger/client/internal/identity"
	"claviger/client/internal/keep"
	"claviger/internal/strictjson"
	"claviger/internal/wire"
)

// Names in a profile's directory.
const (
	fileProfile  = "profile.json"
	kindClient   = "client"
	schema       = 1
	maxProfile   = 64 << 10
	maxAddresses = 16
)

// ExpectedKey is a key that the profile's owner expects ciphertexts to be of.
type ExpectedKey struct {
	Name string `json:"name"`
	ID   string `json:"id,omitempty"` // hexadecimal; empty until it is known
}

// Profile is a client's directory: who it is, which domain it trusts, and what
// it has seen. Make one with Enroll, read one with OpenProfile. The directory is
// 0700 and its files are 0600: key.pem is the client's private key.
type Profile struct {
	Dir       string
	Demo      bool          // the domain is a demo
	Domain    string        // domain id, hexadecimal
	Addresses []string      // host:port, https://relay[#pin] or file:///directory, in order of preference
	Client    string        // the client's SPIFFE id
	Keys      []ExpectedKey // what Decrypt may expect if its caller has nothing better
	// CertFile and KeyFile name a certificate chain and its key, PEM, that
	// somebody else keeps up to date; empty if the profile has its own.
	CertFile, KeyFile string
	// Pad has what is sent padded to size classes, so that a relay sees few sizes.
	// Servers pad what they answer if their own settings say so.
	Pad bool

	domain wire.DomainID
}

type profileFile struct {
	Schema    int           `json:"schema"`
	Kind      string        `json:"kind"`
	Demo      bool          `json:"demo"`
	Domain    string        `json:"domain"`
	Addresses []string      `json:"addresses"`
	Client    string        `json:"client"`
	Keys      []ExpectedKey `json:"keys"`
	CertFile  string        `json:"cert_file,omitempty"`
	KeyFile   string        `json:"key_file,omitempty"`
	Pad       bool          `json:"pad,omitempty"`
}

// OpenProfile reads the profile in a directory. ErrNotFound if there is none.
func OpenProfile(dir string) (*Profile, error) {
	data, err := keep.ReadFile(filepath.Join(dir, fileProfile), maxProfile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open profile %s: %w", dir, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open profile: %w", err)
	}
	return parseProfile(dir, data)
}

func parseProfile(dir string, data []byte) (*Profile, error) {
	var f profileFile
	if err := strictjson.Decode(data, &f); err != nil {
		return nil, fmt.Errorf("open profile %s: %s is malformed: %w", dir, fileProfile, err)
	}
	p := &Profile{
		Dir: dir, Demo: f.Demo, Domain: f.Domain, Addresses: f.Addresses, Client: f.Client, Keys: f.Keys,
		CertFile: f.CertFile, KeyFile: f.KeyFile, Pad: f.Pad,
	}
	if f.Schema != schema || f.Kind != kindClient {
		return nil, fmt.Errorf("open profile %s: it is no client's profile of schema %d", dir, schema)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Profile) check() error {
	id, err := hex.DecodeString(p.Domain)
	if err != nil || len(id) != len(p.domain) {
		return fmt.Errorf("open profile %s: the domain id is malformed", p.Dir)
	}
	p.domain = wire.DomainID(id)
	if !wire.ValidID(p.Client) || len(p.Addresses) == 0 || len(p.Addresses) > maxAddresses || (p.CertFile == "") != (p.KeyFile == "") {
		return fmt.Errorf("open profile %s: client, addresses or certificate files are malformed", p.Dir)
	}
	for _, k := range p.Keys {
		if _, err := keep.ParseKeyID(k.ID); k.ID != "" && err != nil || !wire.ValidKeyName(k.Name) {
			return fmt.Errorf("open profile %s: an expected key is malformed", p.Dir)
		}
	}
	return nil
}

// Save writes changed Addresses and Keys back.
func (p *Profile) Save() error {
	if err := p.check(); err != nil {
		return err
	}
	return p.write(p.Dir)
}

func (p *Profile) write(dir string) error {
	data, err := p.encode()
	if err != nil {
		return err
	}
	return keep.WriteFile(filepath.Join(dir, fileProfile), data)
}

func (p *Profile) encode() ([]byte, error) {
	f := profileFile{
		Schema: schema, Kind: kindClient, Demo: p.Demo, Domain: p.Domain, Addresses: p.Addresses, Client: p.Client,
		Keys: p.Keys, CertFile: p.CertFile, KeyFile: p.KeyFile, Pad: p.Pad,
	}
	if f.Keys == nil {
		f.Keys = []ExpectedKey{}
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write profile: %w", err)
	}
	return append(data, '\n'), nil
}

// identity is the certificate and key that the profile stands for.
func (p *Profile) identity() *identity.File {
	if p.CertFile != "" {
		return identity.New(p.Client, p.CertFile, p.KeyFile)
	}
	return identity.New(p.Client, filepath.Join(p.Dir, identity.FileCert), filepath.Join(p.Dir, identity.FileKey))
}

// pins are the ids in the profile's own list.
func (p *Profile) pins() map[string]wire.KeyID {
	out := map[string]wire.KeyID{}
	for _, k := range p.Keys {
		if id, err := keep.ParseKeyID(k.ID); err == nil {
			out[k.Name] = id
		}
	}
	return out
}

// createDir makes the directory of a new profile, and its parents.
func createDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create profile: %w", err)
	}
	return nil
}
