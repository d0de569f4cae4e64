// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/admin/offline"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// verifyResult is what an offline check found.
type verifyResult struct {
	OK       bool       `json:"ok"`
	Logs     []logRow   `json:"logs"`
	Receipts int        `json:"receipts"`
	Anchors  int        `json:"anchors"`
	Faults   []faultRow `json:"faults"`
	More     uint64     `json:"more_faults,omitempty"`
	Foreign  []string   `json:"foreign_receipts,omitempty"` // files that no server of the domain signed
}

// logRow is one server's log of one number.
type logRow struct {
	Server  string `json:"server"`
	Log     uint64 `json:"log"`
	Leaves  uint64 `json:"leaves"`
	Root    string `json:"root"`
	Allowed uint64 `json:"allowed"`
	Denied  uint64 `json:"denied"`
	GivenUp string `json:"given_up,omitempty"`
}

// faultRow is one thing that is wrong.
type faultRow struct {
	Kind   string `json:"kind"`
	Server string `json:"server"`
	Log    uint64 `json:"log"`
	Index  uint64 `json:"index"`
	Detail string `json:"detail"`
}

func (r verifyResult) human(p *printer) {
	for _, l := range r.Logs {
		p.line("server %s log %d: %d leaves, %d allowed, %d denied, root %s", l.Server, l.Log, l.Leaves, l.Allowed, l.Denied, l.Root)
		if l.GivenUp != "" {
			p.line("  it follows a log that was given up: %s", l.GivenUp)
		}
	}
	for _, f := range r.Faults {
		p.line("%s: server %s log %d leaf %d: %s", f.Kind, f.Server, f.Log, f.Index, f.Detail)
	}
	for _, name := range r.Foreign {
		p.line("foreign receipt: %s", name)
	}
	if r.OK {
		p.line("Verified: whole, unchanged, up to %d anchored checkpoints, with %d receipts found", r.Anchors, r.Receipts)
	}
}

func newAuditVerifyCommand(e *env) *cobra.Command {
	var receipts []string
	cmd := &cobra.Command{
		Use:   "verify ARCHIVE…",
		Short: "Check exported audit logs on this machine, without a server",
		Long: "Check exported audit logs with the servers' public keys, which the profile's member\n" +
			"chain names, and the checkpoints in its copy of the authority log. Receipts are\n" +
			"what clients keep under receipts/ in their profiles: each must stand in a log. A\n" +
			"server that never wrote down what it did is found by them only.",
		Example: "  claviger audit verify audit.tar --receipts ~/.config/claviger/app1/receipts",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := e.verification(receipts)
			if err != nil {
				return err
			}
			r, err := runVerification(v, args)
			if err != nil {
				return err
			}
			if err := e.show(r); err != nil {
				return err
			}
			if !r.OK {
				return &Failure{Code: ExitIntegrity, Message: fmt.Sprintf("the audit log is not what was signed: %d faults", uint64(len(r.Faults))+r.More+uint64(len(r.Foreign)))}
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&receipts, "receipts", nil, "directory with a client's receipts")
	return cmd
}

// verification takes what is believed from the profile: an admin's copy of the
// log, or the member chain of a client.
func (e *env) verification(receipts []string) (offline.Verification, error) {
	client, err := e.isClient()
	if err != nil {
		return offline.Verification{}, err
	}
	if !client {
		p, err := e.adminProfile()
		if err != nil {
			return offline.Verification{}, err
		}
		state, err := admin.Offline(p)
		if err != nil {
			return offline.Verification{}, err
		}
		return offline.Of(state, receipts), nil
	}
	dir, err := e.profileDir(kindClient)
	if err != nil {
		return offline.Verification{}, err
	}
	m, err := clientMembers(dir)
	if err != nil {
		return offline.Verification{}, err
	}
	e.warn("a client's profile knows no anchored checkpoints: that nothing is missing at the end is not checked")
	return offline.Verification{Members: m, Receipts: receipts}, nil
}

// clientMembers verifies the member chain that a client's profile keeps.
func clientMembers(dir string) (*members.State, error) {
	info, err := readProfileInfo(dir)
	if err != nil {
		return nil, err
	}
	data, err := readBoundedFile(filepath.Join(dir, "members"), wire.MaxMembers+1024)
	if err != nil {
		return nil, err
	}
	var chain [][]byte
	if err := wire.Unmarshal(data, &chain, wire.MaxMembers+1024); err != nil {
		return nil, fmt.Errorf("read member chain: %w", err)
	}
	domain, err := hex.DecodeString(info.Domain)
	if err != nil || len(domain) != len(wire.DomainID{}) {
		return nil, fmt.Errorf("read profile: %s names no domain", dir)
	}
	return members.Verify(chain, wire.DomainID(domain))
}

func runVerification(v offline.Verification, paths []string) (verifyResult, error) {
	r := verifyResult{Logs: []logRow{}, Faults: []faultRow{}, Anchors: len(v.Anchors)}
	var archives []io.Reader
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return r, fmt.Errorf("open archive: %w", err)
		}
		defer f.Close()
		archives = append(archives, f)
	}
	found, err := v.Run(archives...)
	if err != nil {
		return r, err
	}
	r.OK = found.OK() && len(found.Foreign) == 0
	r.Receipts, r.More, r.Foreign = found.Receipts, found.More, found.Foreign
	for _, l := range found.Logs {
		r.Logs = append(r.Logs, logRow{l.Server.String(), l.Number, l.Size, l.Root.String(), l.Allowed, l.Denied, l.GivenUp})
	}
	for _, f := range found.Faults {
		r.Faults = append(r.Faults, faultRow{string(f.Kind), f.Server.String(), f.Log, f.Index, f.Detail})
	}
	return r, nil
}
