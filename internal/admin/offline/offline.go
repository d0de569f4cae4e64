// SPDX-License-Identifier: Apache-2.0

// Package offline checks audit archives without a server: what a key server
// exported, against the keys of the member chain, the checkpoints that the
// authority log holds, and the receipts that clients kept.
//
// [Of] takes what a verified state of the log says; who has only a member chain
// fills a [Verification] alone, and then no anchor is held against the archives.
// What the check itself looks for is told in package audit.
package offline

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// Verification is what an offline check of audit logs believes and looks for.
type Verification struct {
	Members  *members.State
	Anchors  map[wire.ServerID]wire.Checkpoint // from the authority log; nil if only the member chain is known
	Receipts []string                          // directories with clients' receipts
}

// Of believes what a verified state of the log says.
func Of(s *authority.State, receipts []string) Verification {
	return Verification{Members: s.Members, Anchors: s.Anchors(), Receipts: receipts}
}

// Verified is what an offline check found.
type Verified struct {
	audit.Report
	Receipts int      // receipts that were looked for
	Foreign  []string // files among the receipts that no server of the domain signed
}

// Run checks archives, oldest first where two are of one server.
func (v Verification) Run(archives ...io.Reader) (*Verified, error) {
	o := audit.VerifyOptions{Domain: v.Members.Domain, Keys: map[wire.ServerID]ed25519.PublicKey{}}
	// A fenced server's word of earlier is still its word: every key counts.
	for _, m := range v.Members.Servers {
		pub, err := m.PublicKey()
		if key, ok := pub.(ed25519.PublicKey); ok && err == nil {
			o.Keys[m.ID()] = key
		}
	}
	for id, c := range v.Anchors {
		o.Anchors = append(o.Anchors, audit.Anchor{Server: id, Checkpoint: c, Source: "the authority log"})
	}
	out := &Verified{}
	for _, dir := range v.Receipts {
		found, foreign, err := readReceipts(dir, v.Members.Domain, o.Keys)
		if err != nil {
			return nil, err
		}
		o.Receipts, out.Foreign = append(o.Receipts, found...), append(out.Foreign, foreign...)
	}
	out.Receipts = len(o.Receipts)
	report, err := audit.Verify(o, archives...)
	if err != nil {
		return nil, err
	}
	out.Report = report
	return out, nil
}

// readReceipts reads the signed grants in a directory and verifies each with the
// key of the server that it names.
func readReceipts(dir string, domain wire.DomainID, keys map[wire.ServerID]ed25519.PublicKey) ([]audit.Receipt, []string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("read receipts: %w", err)
	}
	var out []audit.Receipt
	var foreign []string
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		name := filepath.Join(dir, f.Name())
		data, err := readBounded(name, wire.MaxRelease)
		if err != nil {
			return nil, nil, fmt.Errorf("read receipts: %w", err)
		}
		peek, err := wire.PeekGrant(data)
		if err != nil || peek.Domain != domain || len(keys[peek.Server]) == 0 {
			foreign = append(foreign, name)
			continue
		}
		grant, err := wire.ParseGrant(data, keys[peek.Server])
		if err != nil {
			foreign = append(foreign, name)
			continue
		}
		out = append(out, audit.Receipts(grant)...)
	}
	slices.Sort(foreign)
	return out, foreign, nil
}

// readBounded reads a file of at most limit bytes; a longer one comes cut, and
// so is nothing that anybody signed.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
