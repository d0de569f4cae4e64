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
	"strings"

	"claviger/internal/pki"
	"claviger/internal/wire"
)

// configFile is the file that makes a directory a server's. init writes it
// last, so a directory without it was never finished.
const configFile = "claviger.toml"

// serverConfig is claviger.toml. Every key has to be known: a misspelt one
// would otherwise leave a setting at its default without a word.
type serverConfig struct {
	Schema  int    // 1
	Domain  string // id, hexadecimal
	Name    string // of the domain
	Demo    bool   // written by `claviger demo` alone
	Listen  string // native API, host:port
	Metrics string // loopback only; "" for none
	Root    rootConfig
}

// rootConfig says how the server unseals itself when it starts. Both empty: a
// person does it.
type rootConfig struct {
	KeyFile    string // holds the key, or the passphrase; relative to the directory
	Credential string // name of a systemd credential with the same
}

// Where a server listens unless it is told otherwise.
const (
	defaultListen  = "127.0.0.1:8443"
	defaultMetrics = "127.0.0.1:9464"
)

// encode renders the file as init writes it. A JSON string is a TOML string.
func (c serverConfig) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Written by claviger init. After a change: claviger config check --dir DIR\n")
	fmt.Fprintf(&b, "schema = %d\ndomain = %s\nname = %s\ndemo = %t\n", c.Schema, jsonString(c.Domain), jsonString(c.Name), c.Demo)
	fmt.Fprintf(&b, "\n# The native API, and the metrics on this machine (\"\" for none).\n")
	fmt.Fprintf(&b, "listen = %s\nmetrics = %s\n", jsonString(c.Listen), jsonString(c.Metrics))
	fmt.Fprintf(&b, "\n# How the server unseals itself when it starts: a file with the key or the\n"+
		"# passphrase, or the name of a systemd credential. Both empty: a person does.\n")
	fmt.Fprintf(&b, "[root]\nkey_file = %s\ncredential = %s\n", jsonString(c.Root.KeyFile), jsonString(c.Root.Credential))
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
	if stat.Size() > maxConfig {
		return serverConfig{}, fmt.Errorf("read configuration: %s is larger than %d bytes", path, maxConfig)
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
		return f.withHint("if an init was cut short there, remove the directory and run it again: claviger init --dir %s", dir)
	}
	return f.withHint("claviger init --dir %s", dir)
}

// parseServerConfig reads the text of a configuration.
func parseServerConfig(text string) (serverConfig, error) {
	var c serverConfig
	settings, err := parseSettings(text)
	if err != nil {
		return c, err
	}
	for _, s := range settings { // first: in another schema the rest may mean something else
		if s.name == "schema" && s.value != schemaVersion {
			return c, lineError(s.line, "it has schema %v; this program knows %d", s.value, schemaVersion)
		}
	}
	err = decodeSettings(settings, map[string]any{
		"schema": &c.Schema, "domain": &c.Domain, "name": &c.Name, "demo": &c.Demo, "listen": &c.Listen, "metrics": &c.Metrics,
		"root.key_file": &c.Root.KeyFile, "root.credential": &c.Root.Credential,
	})
	if err != nil {
		return c, err
	}
	return c, c.check()
}

func (c serverConfig) check() error {
	if c.Schema != schemaVersion {
		return errors.New("schema is missing")
	}
	if id, err := hex.DecodeString(c.Domain); err != nil || len(id) != len(wire.DomainID{}) || c.Domain != strings.ToLower(c.Domain) {
		return errors.New("domain is not 64 hexadecimal digits")
	}
	if err := pki.CheckTrustDomain(c.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if c.Root.KeyFile != "" && c.Root.Credential != "" {
		return errors.New("root: key_file and credential are both set; one is wanted")
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
