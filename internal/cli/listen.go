// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"claviger/internal/keyserver/api"
	"claviger/internal/root"
	"claviger/internal/secret"
)

// controlSocket is the Unix socket in the data directory through which the
// server is sealed and unsealed. Its mode, and the directory's, is the lock.
const controlSocket = "control.sock"

// listen opens every port of a server, or none.
func listen(dir string, c serverConfig) (l api.Listeners, err error) {
	defer func() {
		if err != nil {
			closeListeners(l)
		}
	}()
	if l.Control, err = listenControl(dir); err != nil {
		return l, err
	}
	if c.Listen != "" {
		if l.API, err = net.Listen("tcp", c.Listen); err != nil {
			return l, asPortTaken(err, c.Listen, "listen")
		}
	}
	if c.Metrics != "" {
		if l.Metrics, err = net.Listen("tcp", c.Metrics); err != nil {
			return l, asPortTaken(err, c.Metrics, "metrics")
		}
	}
	return l, nil
}

func closeListeners(l api.Listeners) {
	for _, c := range []net.Listener{l.API, l.Metrics, l.Control} {
		if c != nil {
			c.Close()
		}
	}
}

// asPortTaken says in one line that an address is taken.
func asPortTaken(err error, address, key string) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("open a port: %w", err)
	}
	return (&Failure{Code: ExitFailure, Message: "another program listens on " + address, Err: err}).
		withHint("end that program, or change %s in %s", key, configFile)
}

// listenControl opens the control socket. A socket that nobody answers on was
// left by a server that was killed.
func listenControl(dir string) (net.Listener, error) {
	path := filepath.Join(dir, controlSocket)
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, &Failure{Code: ExitFailure, Message: "a server runs on this data directory already: " + dir}
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the control socket of a server that was killed: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	return l, nil
}

// attempts is how often a person may mistype the passphrase at a start.
const attempts = 3

// unsealAtStart opens the server with what its configuration names, or by
// asking. Without either it stays sealed.
func (e *env) unsealAtStart(ctx context.Context, s *api.Server, dir string, c rootConfig) error {
	at := filepath.Join(dir, rootDirName)
	info, err := root.Describe(at)
	if err != nil {
		return err
	}
	path, err := e.rootFile(dir, c)
	if err != nil {
		return err
	}
	switch {
	case path != "" && info.Kind != root.KindShares:
		read := func() (root.Unlock, error) { return e.readUnlock(ctx, path, info.Kind) }
		s.UnsealFrom(read) // after a seal, too
		with, err := read()
		if err != nil {
			return err
		}
		return unsealWith(ctx, s, at, with)
	case info.Kind == root.KindPassphrase && e.InTTY: // a job in the background must not reach for the terminal
		return e.unsealByAsking(ctx, s, at)
	}
	return nil
}

// readUnlock reads the file that opens the root.
func (e *env) readUnlock(ctx context.Context, path string, kind root.Kind) (with root.Unlock, err error) {
	if kind == root.KindKeyFile {
		with.Key, err = root.ReadKey(path)
	} else {
		with.Passphrase, err = e.readSecret(ctx, secretSource{File: path, FD: -1})
	}
	return with, err
}

// rootFile is the file that a configuration names to open the root; "" for none.
func (e *env) rootFile(dir string, c rootConfig) (string, error) {
	credentials := e.getenv("CREDENTIALS_DIRECTORY")
	switch {
	case c.Credential != "" && credentials == "":
		return "", (&Failure{Code: ExitNotFound, Message: "there is no systemd credential " + c.Credential, Err: fs.ErrNotExist}).
			withHint("the unit needs LoadCredential=%s or LoadCredentialEncrypted=%s", c.Credential, c.Credential)
	case c.Credential != "":
		return filepath.Join(credentials, c.Credential), nil
	case c.KeyFile != "" && !filepath.IsAbs(c.KeyFile):
		return filepath.Join(dir, c.KeyFile), nil
	}
	return c.KeyFile, nil
}

func (e *env) unsealByAsking(ctx context.Context, s *api.Server, at string) error {
	for left := attempts - 1; ; left-- {
		pass, err := e.askPassphrase(ctx, "Passphrase of the root secret")
		if err != nil {
			return err
		}
		err = unsealWith(ctx, s, at, root.Unlock{Passphrase: pass})
		if left == 0 || !errors.Is(err, root.ErrWrongPassphrase) {
			return err
		}
		e.warn("that is not the passphrase")
	}
}

func unsealWith(ctx context.Context, s *api.Server, at string, with root.Unlock) error {
	defer wipeAll(with.Passphrase, with.Key)
	r, err := root.Open(at, with)
	if err != nil {
		return err
	}
	return s.Unseal(ctx, r) // which owns it now
}

// wipeAll wipes the secrets that are there.
func wipeAll(secrets ...*secret.Bytes) {
	for _, b := range secrets {
		if b != nil {
			b.Wipe()
		}
	}
}

// readBoundedFile reads a file of at most limit bytes.
func readBoundedFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: it is larger than %d bytes", path, limit)
	}
	return data, nil
}
