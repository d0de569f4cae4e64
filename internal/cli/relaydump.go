// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"claviger/internal/relay"
	"claviger/internal/wire"
)

func newRelayDumpCommand(e *env) *cobra.Command {
	var dir string
	var raw bool
	cmd := &cobra.Command{
		Use:   "relay-dump --dir RELAYDIR",
		Short: "Print all that a relay of this machine holds and saw",
		Long: "Print all that a relay of this machine holds and saw: the boards, hashes of send\n" +
			"tokens, sealed parcels, who reads which mailbox, and what passed lately. It asks the\n" +
			"control socket in the relay's directory. With --raw the messages themselves are\n" +
			"printed too, in base64: they are signed and public, or sealed.",
		Example: "  claviger relay-dump --dir /var/lib/claviger-relay\n  claviger relay-dump --dir /var/lib/claviger-relay --json --raw",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usagef("--dir is missing").withHint("it names the relay's data directory")
			}
			r, err := relayDump(cmd.Context(), dir, raw)
			if err != nil {
				return err
			}
			return e.show(r)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "data directory of the relay")
	cmd.Flags().BoolVar(&raw, "raw", false, "the messages themselves, too")
	return cmd
}

// relayDumpResult is what a relay holds and saw.
type relayDumpResult struct{ relay.Dump }

func (r relayDumpResult) human(p *printer) {
	p.line("Relay %s, %s", r.Version, r.At.Format(time.RFC3339))
	for _, d := range r.Domains {
		p.line("\nDomain %s", d.Domain)
		r.board(p, d)
	}
	p.line("\nRead from %d mailboxes; %d streams of statements; %d requests wait for an answer", len(r.Receivers), r.Followers, r.UnderWay)
	if len(r.Receivers) > 0 {
		var rows [][]string
		for _, x := range r.Receivers {
			rows = append(rows, []string{x.Since.Format(time.RFC3339), x.Address, x.Mailbox})
		}
		p.table([]string{"SINCE", "ADDRESS", "MAILBOX"}, rows)
	}
	p.line("\nPassed: the last %d", len(r.Passed))
	var rows [][]string
	for _, x := range r.Passed {
		rows = append(rows, []string{x.At.Format(time.RFC3339), x.Address, x.What, strconv.Itoa(x.Status), x.Type, strconv.Itoa(x.Size), x.Mailbox})
	}
	p.table([]string{"AT", "ADDRESS", "WHAT", "STATUS", "TYPE", "BYTES", "MAILBOX"}, rows)
}

// board prints what is kept of a domain.
func (r relayDumpResult) board(p *printer, d relay.DomainDump) {
	var servers, parcels [][]string
	var bytes [][]string
	for _, s := range d.Servers {
		row := []string{s.Server, s.Mailbox, "", "", ""}
		if in := s.Introduction; in != nil {
			row[2] = in.NotAfter.Format(time.RFC3339)
			bytes = append(bytes, []string{"introduction of " + s.Server, base64.StdEncoding.EncodeToString(in.Raw)})
		}
		if s.Statement != nil {
			row[3] = s.Statement.Issued.Format(time.RFC3339)
			bytes = append(bytes, []string{"statement of " + s.Server, base64.StdEncoding.EncodeToString(s.Statement.Raw)})
		}
		if s.Tokens != nil {
			row[4] = strconv.Itoa(len(s.Tokens.Hashes))
		}
		servers = append(servers, row)
	}
	for _, x := range d.Parcels {
		parcels = append(parcels, []string{strconv.FormatUint(x.Number, 10), x.Type, strconv.Itoa(x.Size), x.Expires.Format(time.RFC3339), x.Mailbox})
		bytes = append(bytes, []string{"parcel " + strconv.FormatUint(x.Number, 10), base64.StdEncoding.EncodeToString(x.Raw)})
	}
	p.table([]string{"SERVER", "MAILBOX", "UNTIL", "STATEMENT", "TOKENS"}, servers)
	p.line("Parcels: %d", len(parcels))
	if len(parcels) > 0 {
		p.table([]string{"NUMBER", "TYPE", "BYTES", "EXPIRES", "MAILBOX"}, parcels)
	}
	for _, b := range bytes {
		if b[1] != "" { // only where they were asked for
			p.line("%s: %s", b[0], b[1])
		}
	}
}

// Bounds of a relay's answers. A dump is as long as the relay's settings let it be.
const maxDump = 1 << 30

// relayDump asks a relay's control socket.
func relayDump(ctx context.Context, dir string, raw bool) (r relayDumpResult, err error) {
	data, err := askRelay(ctx, dir, "/dump?raw="+strconv.FormatBool(raw), maxDump)
	if err != nil {
		return r, err
	}
	var is struct{ Schema int }
	if err := json.Unmarshal(data, &is); err != nil || is.Schema != schemaVersion {
		return r, errors.New("the relay is of another version than this program")
	}
	if err := json.Unmarshal(data, &r.Dump); err != nil {
		return r, fmt.Errorf("read the relay's answer: %w", err)
	}
	if !raw {
		return r, nil
	}
	for _, d := range r.Domains {
		for i := range d.Parcels {
			x := &d.Parcels[i]
			x.Raw, err = askRelay(ctx, dir, "/parcel/"+d.Domain+"/"+strconv.FormatUint(x.Number, 10), wire.MaxParcel)
			if f, ok := errors.AsType[*Failure](err); ok && f.Code == ExitNotFound {
				continue // fetched by its owner meanwhile, or expired
			}
			if err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// askRelay asks one thing and returns at most limit bytes.
func askRelay(ctx context.Context, dir, path string, limit int64) ([]byte, error) {
	socket := filepath.Join(dir, controlSocket)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://relay"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, (&Failure{Code: ExitNotFound, Message: "no relay runs on " + dir, Err: err}).withHint("claviger-relay --config FILE, whose dir is that one")
	case errors.Is(err, os.ErrPermission):
		return nil, &Failure{Code: ExitDenied, Message: "only the owner of " + socket + " may do that", Err: err}
	case err != nil:
		return nil, fmt.Errorf("ask the relay: %w", errors.Unwrap(err))
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("ask the relay: %w", err)
	}
	if resp.StatusCode == http.StatusNotFound {
		return nil, &Failure{Code: ExitNotFound, Message: "what runs on " + dir + " is no relay, or has it no longer"}
	}
	if resp.StatusCode != http.StatusOK {
		return nil, controlFailure(data)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("ask the relay: its answer is larger than %d bytes", limit)
	}
	return data, nil
}
