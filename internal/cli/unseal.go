// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"claviger/internal/keyserver/api"
	"claviger/internal/root"
	"claviger/internal/secret"
)

func newUnsealCommand(e *env) *cobra.Command {
	var dir, share string
	pass := secretSource{Prompt: "Passphrase of the root secret"}
	cmd := &cobra.Command{
		Use:   "unseal",
		Short: "Open a sealed server of this machine",
		Long: "Open a sealed server of this machine with the passphrase of the root secret, or\n" +
			"bring one of the shares; once there are enough the server opens. A share is\n" +
			"decrypted first, with age. If the root is sealed under a key file, the server reads\n" +
			"the one again that its configuration names.",
		Example: "  claviger unseal --dir D\n  age -d -i identity share.age | claviger unseal --dir D --share -",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := e.unseal(cmd.Context(), dir, share, pass)
			if err != nil {
				return err
			}
			return e.show(r)
		},
	}
	dirFlag(cmd, &dir)
	cmd.Flags().StringVar(&share, "share", "", "file that holds a decrypted share; - reads standard input")
	secretFlags(cmd.Flags(), &pass, "passphrase", "the root's passphrase")
	return cmd
}

func newSealCommand(e *env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "seal",
		Short: "Make a server of this machine forget the root secret",
		Long: "Make a server of this machine forget the root secret and everything derived from\n" +
			"it. It goes on running, and answers nothing but its health until it is unsealed.",
		Example: "  claviger seal --dir D",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r sealResult
			if err := control(cmd.Context(), dir, "POST", "/seal", nil, &r.ControlStatus); err != nil {
				return err
			}
			if err := e.show(r); err != nil {
				return err
			}
			e.next("claviger unseal --dir %s", word(dir))
			return nil
		},
	}
	dirFlag(cmd, &dir)
	return cmd
}

// sealResult is the state of a server's seal.
type sealResult struct {
	api.ControlStatus
}

// MarshalJSON leaves out what show adds.
func (r sealResult) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Sealed bool   `json:"sealed"`
		Kind   string `json:"kind"`
		Have   int    `json:"have,omitempty"`
		Need   int    `json:"need,omitempty"`
	}{r.Sealed, r.Kind, r.Have, r.Need})
}

func (r sealResult) human(p *printer) {
	switch {
	case !r.Sealed:
		p.line("The server is unsealed.")
	case r.Need > 0:
		p.line("The server is sealed: %d of %d shares have been brought.", r.Have, r.Need)
	default:
		p.line("The server is sealed.")
	}
}

// unseal brings a passphrase or a share to the server.
func (e *env) unseal(ctx context.Context, dir, share string, pass secretSource) (r sealResult, err error) {
	if err := control(ctx, dir, "GET", "/status", nil, &r.ControlStatus); err != nil || !r.Sealed {
		return r, err
	}
	in := api.UnsealRequest{KeyFile: share == "" && r.Kind == string(root.KindKeyFile)}
	if !in.KeyFile {
		b, err := e.unsealSecret(ctx, r.Kind, share, pass)
		if err != nil {
			return r, err
		}
		defer b.Wipe()
		if share != "" {
			in.Share = b.Expose()
		} else {
			in.Passphrase = b.Expose()
		}
	}
	body, err := json.Marshal(in)
	if err != nil {
		return r, fmt.Errorf("unseal: %w", err)
	}
	defer secret.Wipe(body)
	err = control(ctx, dir, "POST", "/unseal", body, &r.ControlStatus)
	var f *Failure
	if in.KeyFile && errors.As(err, &f) {
		err = f.withHint("the file is named in %s, [root] key_file or credential; the server reads its name when it starts", configFile)
	}
	return r, err
}

func (e *env) unsealSecret(ctx context.Context, kind, share string, pass secretSource) (*secret.Bytes, error) {
	switch {
	case share != "" && kind != string(root.KindShares):
		return nil, usagef("the root is sealed under a %s, not in shares", kind)
	case share != "":
		return e.readShare(share)
	case kind == string(root.KindShares):
		return nil, usagef("the root is sealed in shares").withHint("bring one: age -d -i IDENTITY share.age | claviger unseal --dir DIR --share -")
	}
	return e.readSecret(ctx, pass)
}

// readShare reads a decrypted share from a file or standard input.
func (e *env) readShare(path string) (*secret.Bytes, error) {
	share, err := e.openShare(path)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(share.Expose(), []byte("-----BEGIN AGE")) || bytes.HasPrefix(share.Expose(), []byte("age-encryption")) {
		share.Wipe()
		return nil, usagef("the share is still encrypted").withHint("age -d -i IDENTITY %s", word(path))
	}
	return share, nil
}

func (e *env) openShare(path string) (*secret.Bytes, error) {
	if path == "-" {
		return readBounded(e.In)
	}
	return e.readSecretFile(path)
}

// maxControl bounds an answer of the control socket.
const maxControl = 64 << 10

// control asks the server of a data directory, through its socket.
func control(ctx context.Context, dir, method, path string, body []byte, to *api.ControlStatus) error {
	if err := needDir(dir); err != nil {
		return err
	}
	socket := filepath.Join(dir, controlSocket)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return (&Failure{Code: ExitNotFound, Message: "no server runs on " + dir, Err: err}).withHint("claviger server --dir %s", word(dir))
	}
	if errors.Is(err, os.ErrPermission) {
		return &Failure{Code: ExitDenied, Message: "only the owner of " + socket + " may do that", Err: err}
	}
	if err != nil {
		return fmt.Errorf("ask the server: %w", errors.Unwrap(err))
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxControl))
	if err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return controlFailure(data)
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	return nil
}

// controlFailure turns an error of the control socket into a failure.
func controlFailure(data []byte) error {
	var bad struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal(data, &bad) != nil || bad.Error.Message == "" {
		return errors.New("the server could not do this; its log says why")
	}
	f := &Failure{Code: ExitFailure, Message: bad.Error.Message}
	if bad.Error.Code == "wrong-passphrase" {
		f.Code = ExitDenied
	}
	return f
}
