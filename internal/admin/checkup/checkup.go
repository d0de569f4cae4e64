// SPDX-License-Identifier: Apache-2.0

// Package checkup looks for what is wrong about a domain, or has to be known:
// [Dir] at a server's directory, [Profile] at an admin's profile, [State] at a
// verified state of the log, [Status] at what a server says of itself. Each gives
// [Finding]s; who runs the check-up decides which of them it may do.
//
// It mends nothing. A finding about a server is the server's word.
package checkup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"claviger/internal/admin"
	"claviger/internal/admin/authkey"
	"claviger/internal/authority"
	"claviger/internal/members"
)

// Level of a finding.
type Level string

// Levels: a failure has to be mended, a warning has to be known.
const (
	Fine    Level = "ok"
	Warning Level = "warning"
	Failed  Level = "failed"
)

// Finding is one thing that a check-up looked at.
type Finding struct {
	Level Level  `json:"level"`
	What  string `json:"what"`   // what was looked at
	Found string `json:"detail"` // what it is like
}

// AuthorityKeys looks for authority keys under a directory, by content and
// not by name. A server's directory must hold none: who takes the server would
// be an admin too.
func AuthorityKeys(dir string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil // a server writes while we look
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() > authkey.MaxFile {
			return nil // gone meanwhile, or no key file
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if authkey.Looks(data) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for authority keys: %w", err)
	}
	return found, nil
}

// Dir looks at a server's data directory.
func Dir(dir string) []Finding {
	keys, err := AuthorityKeys(dir)
	var out []Finding
	switch {
	case err != nil:
		out = append(out, Finding{Failed, "authority keys", err.Error()})
	case len(keys) > 0:
		for _, k := range keys {
			out = append(out, Finding{Failed, "authority keys", "one lies in the server's directory: " + k + "; move that profile to an admin's machine"})
		}
	default:
		out = append(out, Finding{Fine, "authority keys", "none in " + dir})
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o077 != 0 {
		out = append(out, Finding{Failed, "data directory", dir + " is open to other users: set it to 0700"})
	}
	return append(out, Finding{Warning, "copies", "snapshots of this machine and raw copies of " + dir + " are backups that no log lists: they can bring back what was destroyed"})
}

// Profile looks at an admin's profile.
func Profile(p *admin.Profile) []Finding {
	out := []Finding{{Fine, "profile", p.Dir() + " is " + p.Name + "'s"}}
	if info, err := os.Stat(p.Dir()); err != nil || info.Mode().Perm()&0o077 != 0 {
		out = append(out, Finding{Failed, "profile", p.Dir() + " is open to other users: set it to 0700"})
	}
	if p.KeyFile != "" {
		out = append(out, Finding{Warning, "authority key", "it opens without a person: whoever reads " + p.KeyFile + " and the profile is " + p.Name})
	}
	if p.Demo {
		out = append(out, Finding{Warning, "demo", "this is a demo domain: it protects nothing"})
	}
	return out
}

// State looks at a verified state of the log.
func State(s *authority.State) []Finding {
	m := s.Members
	out := []Finding{{Fine, "log", fmt.Sprintf("verified up to record %s", s.Epoch)}}
	warn := func(what, format string, args ...any) {
		out = append(out, Finding{Warning, what, fmt.Sprintf(format, args...)})
	}
	for _, v := range s.Voids {
		warn("log", "record %s (%s) is void: %s", v.Epoch, v.Kind, v.Reason)
	}
	for _, k := range m.Keys.Keys {
		if !s.Confirmed(k.Name) {
			warn("admins", "%s has never signed: nobody knows whether that key is in the right hands", k.Name)
		}
	}
	if m.Keys.Threshold == 1 {
		warn("quorum", "one admin alone can change everything")
	}
	if m.Recovery.Threshold == 0 {
		warn("recovery", "there is no recovery quorum: with fewer than %d of %d authority keys nothing can ever be changed again", m.Keys.Threshold, len(m.Keys.Keys))
	}
	active := 0
	for _, srv := range m.Servers {
		if srv.Status == members.StatusActive {
			active++
		}
	}
	if active == 1 {
		warn("servers", "one server: if its disk is put back as a whole, only clients and admins can notice; if it is lost, so is what no backup holds")
	}
	if m.Genesis.Strict && len(s.Backups()) > 0 {
		warn("backups", "this domain is strict: no backup can bring keys back when every server is lost")
	}
	if len(s.Backups()) == 0 {
		warn("backups", "the log lists no backup")
	}
	if s.Revoked {
		warn("revocation", "everything is revoked: claviger enable --all takes it back")
	}
	return out
}

// Status looks at what a server says of itself.
func Status(st *admin.Status) []Finding {
	out := []Finding{{Fine, "server", st.Server + " answers"}}
	if st.Protection == "none" {
		out = append(out, Finding{Warning, "memory", "the server can't keep keys out of swap and core dumps"})
	}
	if st.Unprotected > 0 {
		out = append(out, Finding{Warning, "memory", fmt.Sprintf("%d bytes of keys are not locked: raise the limit of locked memory", st.Unprotected)})
	}
	if st.Audit.GivenUp != "" {
		out = append(out, Finding{Failed, "audit log", "the server gave up an older log: " + st.Audit.GivenUp})
	}
	return out
}
