// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"claviger/internal/cli/doors"
	"claviger/internal/pki"
	"claviger/internal/settings"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// configFile is the file that makes a directory a server's. init writes it
// last, so a directory without it was never finished.
const configFile = "claviger.toml"

// serverConfig is claviger.toml. Every key has to be known: a misspelt one
// would otherwise leave a setting at its default without a word.
type serverConfig struct {
	Schema  int          `toml:"schema"`  // 1
	Domain  string       `toml:"domain"`  // id, hexadecimal
	Name    string       `toml:"name"`    // of the domain
	Demo    bool         `toml:"demo"`    // written by `claviger demo` alone
	Listen  string       `toml:"listen"`  // native API, host:port; "" for none
	Relay   []string     `toml:"relay"`   // addresses of relays and directories
	Pad     bool         `toml:"pad"`     // sealed answers are padded to size classes
	Metrics string       `toml:"metrics"` // loopback only; "" for none
	Root    rootConfig   `toml:"root"`
	Doors   doors.Config `toml:"doors"`
}

// rootConfig says how the server unseals itself when it starts. Both empty: a
// person does it.
type rootConfig struct {
	KeyFile    string `toml:"key_file"`   // holds the key, or the passphrase; relative to the directory
	Credential string `toml:"credential"` // name of a systemd credential with the same
}

// Where a server listens unless it is told otherwise.
const (
	defaultListen  = "127.0.0.1:8443"
	defaultMetrics = "127.0.0.1:9464"
)

// encode renders the file as init writes it.
func (c serverConfig) encode() []byte {
	var b bytes.Buffer
	b.WriteString("# Written by claviger init. After a change: claviger config check --dir DIR\n")
	settings.Write(&b, "schema", c.Schema)
	settings.Write(&b, "domain", c.Domain)
	settings.Write(&b, "name", c.Name)
	settings.Write(&b, "demo", c.Demo)
	b.WriteString("\n# The native API, and the metrics on this machine (\"\" for none).\n")
	settings.Write(&b, "listen", c.Listen)
	if len(c.Relay) > 0 {
		settings.Write(&b, "relay", c.Relay)
	}
	if c.Pad {
		settings.Write(&b, "pad", c.Pad)
	}
	settings.Write(&b, "metrics", c.Metrics)
	b.WriteString("\n# How the server unseals itself when it starts: a file with the key or the\n" +
		"# passphrase, or the name of a systemd credential. Both empty: a person does.\n[root]\n")
	settings.Write(&b, "key_file", c.Root.KeyFile)
	settings.Write(&b, "credential", c.Root.Credential)
	c.Doors.Write(&b)
	return b.Bytes()
}

// domain returns the pin of the server's log.
func (c serverConfig) domain() (id wire.DomainID) {
	hex.Decode(id[:], []byte(c.Domain)) // check has seen that it is one
	return id
}

// readServerConfig reads and checks the configuration of a data directory.
func readServerConfig(dir string) (serverConfig, error) {
	path := filepath.Join(dir, configFile)
	stat, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return serverConfig{}, notInstalled(dir)
	}
	if err != nil {
		return serverConfig{}, fmt.Errorf("read configuration: %w", err)
	}
	if stat.Size() > settings.MaxSize {
		return serverConfig{}, fmt.Errorf("read configuration: %s is larger than %d bytes", path, settings.MaxSize)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return serverConfig{}, fmt.Errorf("read configuration: %w", err)
	}
	c, err := parseServerConfig(string(data))
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// notInstalled says what a directory without a configuration is.
func notInstalled(dir string) *Failure {
	f := &Failure{Code: ExitNotFound, Message: "there is no " + configFile + " in " + dir, Err: fs.ErrNotExist}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return f.withHint("if an init was cut short there, remove the directory and run it again: claviger init --dir %s", word(dir))
	}
	return f.withHint("claviger init --dir %s", word(dir))
}

// parseServerConfig reads the text of a configuration.
func parseServerConfig(text string) (serverConfig, error) {
	var c serverConfig
	if err := settings.Decode(text, &c); err != nil {
		return c, err
	}
	return c, c.check()
}

func (c serverConfig) check() error {
	if id, err := hex.DecodeString(c.Domain); err != nil || len(id) != len(wire.DomainID{}) || c.Domain != strings.ToLower(c.Domain) {
		return errors.New("domain is not 64 hexadecimal digits")
	}
	if err := pki.CheckTrustDomain(c.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if err := c.checkReach(); err != nil {
		return err
	}
	if !utf8.ValidString(c.Root.KeyFile) { // a TOML file can't name it
		return errors.New("root: the name of the key file is not UTF-8")
	}
	if c.Root.KeyFile != "" && c.Root.Credential != "" {
		return errors.New("root: key_file and credential are both set; one is wanted")
	}
	if err := c.Doors.Check(); err != nil {
		return fmt.Errorf("doors: %w", err)
	}
	if c.Metrics == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(c.Metrics)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	// Metrics need no credential, so they stay on this machine.
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("metrics: %s is not a loopback address", host)
	}
	return nil
}

// maxRelays is how many relays and directories a server stands at: an invite names
// all of them, and its addresses besides.
const maxRelays = 8

// checkReach makes sure that somebody can reach the server.
func (c serverConfig) checkReach() error {
	if c.Listen == "" && len(c.Relay) == 0 {
		return errors.New("listen is empty and relay names none: nobody could reach the server")
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	if len(c.Relay) > maxRelays {
		return fmt.Errorf("relay: more than %d", maxRelays)
	}
	_, err := c.relays()
	return err
}

// relays are the parsed addresses of relay.
func (c serverConfig) relays() ([]transport.Address, error) {
	var out []transport.Address
	for _, text := range c.Relay {
		a, err := transport.ParseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
		if a.Kind == transport.KindDirect {
			return nil, fmt.Errorf("relay: %s is a server's address; a relay is https://host[:port][#pin], a directory file:///path", text)
		}
		if slices.Contains(out, a) {
			return nil, fmt.Errorf("relay: %s is there twice", a)
		}
		out = append(out, a)
	}
	return out, nil
}
