// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/root"
)

// statusResult is the domain as the log says it, and the server as it says.
type statusResult struct {
	Domain    string         `json:"domain"`
	Name      string         `json:"name"`
	Demo      bool           `json:"demo,omitempty"`
	Strict    bool           `json:"strict,omitempty"`
	Epoch     string         `json:"epoch"`
	Head      string         `json:"head"`
	Keys      int            `json:"keys"`
	Admins    []statusAdmin  `json:"admins"`
	Quorum    uint64         `json:"quorum"`
	Recovery  uint64         `json:"recovery_quorum"`
	Root      string         `json:"root,omitempty"` // what opens the root: as its custody file says, or the server
	Servers   []statusServer `json:"servers"`
	Revoked   bool           `json:"everything_revoked,omitempty"`
	Backups   int            `json:"backups_listed"`
	Void      int            `json:"void_records"`
	Address   string         `json:"address"`
	AuditLog  uint64         `json:"audit_log"`
	AuditSize uint64         `json:"audit_leaves"`
	Memory    string         `json:"memory_protection"`
	Standing  int            `json:"standing_requests"`
	Forks     []string       `json:"contradicting_servers"`
	Problems  []string       `json:"problems"` // as the server tells them
	recoveryInfo
	Announced string `json:"recovery_due,omitempty"` // when a recovery that was announced can take effect
}

type statusAdmin struct {
	Name      string `json:"name"`
	Confirmed bool   `json:"confirmed"`
}

type statusServer struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"`
}

func (r statusResult) human(p *printer) {
	var admins, servers []string
	for _, a := range r.Admins {
		name := a.Name
		if !a.Confirmed {
			name += " (not confirmed)"
		}
		admins = append(admins, name)
	}
	for _, s := range r.Servers {
		servers = append(servers, s.Name+" ("+s.Status+")")
	}
	changes := fmt.Sprintf("%d of %d admins", r.Quorum, len(r.Admins))
	p.pairs("domain", r.Name+" "+r.Domain, "log", fmt.Sprintf("%s, head %.16s", r.Epoch, r.Head), "changes take", changes,
		"recovery", r.words(), "reading everything takes", r.Root, "admins", strings.Join(admins, ", "), "servers", strings.Join(servers, ", "),
		"keys", fmt.Sprint(r.Keys), "backups listed", fmt.Sprint(r.Backups), "void records", fmt.Sprint(r.Void),
		"audit log", fmt.Sprintf("%d, %d leaves", r.AuditLog, r.AuditSize), "memory", r.Memory, "standing requests", fmt.Sprint(r.Standing), "reached at", r.Address)
	if r.Announced != "" { // as the log says, whatever the server does
		p.line("A recovery was announced: other admins can take the place of these from %s on.", r.Announced)
		p.line("A quorum ends it: claviger admin recovery, or claviger admin remove.")
	}
	if r.Revoked {
		p.line("Everything is revoked.")
	}
	for _, problem := range r.Problems {
		p.line("problem: %s", problem)
	}
}

func newStatusCommand(e *env) *cobra.Command {
	var a access
	var dir string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how the domain and its server are",
		Long: "Say how the domain is, as the verified log tells it, and how the server is, as it\n" +
			"tells itself. A quorum guards changes; custody of the root guards reading: status\n" +
			"shows how many people each takes. A client sees the newest state that it believes,\n" +
			"and gets leases of the keys that it has used before, to see how fresh those are.",
		Example: "  claviger status\n" +
			"  claviger --profile app1 status",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := e.isClient()
			if err != nil {
				return err
			}
			if client {
				return e.showClientStatus(cmd.Context())
			}
			r, err := e.status(cmd.Context(), a, dir)
			if err != nil {
				return err
			}
			return e.show(r)
		},
	}
	accessFlags(cmd.Flags(), &a)
	cmd.Flags().StringVar(&dir, "dir", "", "data directory of the server, on its own machine")
	return cmd
}

func (e *env) status(ctx context.Context, a access, dir string) (statusResult, error) {
	s, err := e.connect(ctx, a)
	if err != nil {
		return statusResult{}, err
	}
	defer s.Close()
	st, err := s.Status(ctx)
	if err != nil {
		return statusResult{}, err
	}
	state := s.State()
	m := state.Members
	r := statusResult{
		Domain: m.Domain.String(), Name: m.Genesis.Name, Demo: m.Genesis.Demo, Strict: m.Genesis.Strict, Epoch: state.Epoch.String(),
		Head: state.Head.String(), Keys: state.KeyCount(), Quorum: m.Keys.Threshold, Recovery: m.Recovery.Threshold,
		Revoked: state.Revoked, Backups: len(state.Backups()), Void: len(state.Voids), Address: s.Address(), AuditLog: st.Audit.Log,
		AuditSize: st.Audit.Leaves, Memory: st.Protection, Problems: append([]string{}, st.Problems...), Standing: st.Standing,
		Forks: append([]string{}, st.Forks...), recoveryInfo: recoveryOf(m.Recovery),
	}
	if due, ok := state.Announced.First(m.Recovery); ok {
		r.Announced = utc(due)
	}
	for _, k := range m.Keys.Keys {
		r.Admins = append(r.Admins, statusAdmin{k.Name, state.Confirmed(k.Name)})
	}
	for _, srv := range m.Servers {
		r.Servers = append(r.Servers, statusServer{srv.ID().String(), srv.Name, srv.Status.String()})
	}
	r.Root = rootWords(st.Root.Kind, st.Root.Need, st.Root.Of)
	if dir != "" {
		d, err := root.Describe(filepath.Join(dir, rootDirName))
		if err != nil {
			return r, err
		}
		r.Root = rootWords(string(d.Kind), d.Threshold, len(d.Custodians))
	}
	return r, nil
}

// rootWords says what opens a root, as the server tells it or its custody file.
func rootWords(kind string, need, of int) string {
	switch {
	case need > 0:
		return fmt.Sprintf("%d of %d custodians, beside a server's epoch file", need, of)
	case kind != "":
		return fmt.Sprintf("one %s, beside a server's epoch file", kind)
	}
	return "whoever opens the root (the server does not say who that is)"
}
