// SPDX-License-Identifier: Apache-2.0

package relaycmd

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"claviger/internal/relay"
	"claviger/internal/settings"
	"claviger/internal/wire"
)

// config is the relay's file. docs/relay.md is its reference.
type config struct {
	Schema  int          `toml:"schema"`  // 1
	Listen  string       `toml:"listen"`  // host:port
	URLs    []string     `toml:"urls"`    // origins under which it is reached; none: as each caller says
	Dir     string       `toml:"dir"`     // data directory
	Domains []string     `toml:"domains"` // ids that it serves
	Metrics string       `toml:"metrics"` // loopback only; "" for none
	TLS     tlsConfig    `toml:"tls"`
	NATS    natsConfig   `toml:"nats"`
	Limits  limitsConfig `toml:"limits"`
}

// tlsConfig names a certificate; both or none.
type tlsConfig struct {
	Certificate string `toml:"certificate"` // PEM, the leaf first
	Key         string `toml:"key"`         // PEM
}

// natsConfig names a cluster. Without a URL the relay has NATS inside.
type natsConfig struct {
	URL         string `toml:"url"`
	Credentials string `toml:"credentials"`
	CA          string `toml:"ca"`       // PEM of the roots that its servers' certificates lead to; "": the system's
	Replicas    int    `toml:"replicas"` // of what is kept; 0 means 3
}

// limitsConfig overrides bounds; 0 means the default.
type limitsConfig struct {
	Connections           int     `toml:"connections"`
	ConnectionsPerAddress int     `toml:"connections_per_address"`
	Rate                  float64 `toml:"rate"`
	Burst                 int     `toml:"burst"`
	UnderWay              int     `toml:"under_way"`
	Bodies                int     `toml:"bodies"`
	BodiesPerAddress      int     `toml:"bodies_per_address"`
	Parcels               int     `toml:"parcels"`
	ParcelBytes           int64   `toml:"parcel_bytes"`
	ParcelHours           int     `toml:"parcel_hours"`
	DomainBytes           int64   `toml:"domain_bytes"`
	Ring                  int     `toml:"ring"`
}

// Bounds of settings.
const (
	maxDomains     = 64
	maxURLs        = 16
	maxCount       = 1 << 20
	maxParcelHours = 7 * 24
	maxDomainBytes = 1 << 40
	defaultListen  = ":8444"
)

// readConfig reads and checks a configuration file.
func readConfig(path string) (config, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return config{}, fmt.Errorf("read configuration: %w", err)
	}
	if !stat.Mode().IsRegular() || stat.Size() > settings.MaxSize {
		return config{}, fmt.Errorf("read configuration: %s is no file of at most %d bytes", path, settings.MaxSize)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return config{}, fmt.Errorf("read configuration: %w", err)
	}
	c, err := parseConfig(string(text))
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// parseConfig reads the text of a configuration.
func parseConfig(text string) (config, error) {
	var c config
	if err := settings.Decode(text, &c); err != nil {
		return c, err
	}
	if c.Listen == "" {
		c.Listen = defaultListen
	}
	for _, check := range []func() error{c.checkAddresses, c.checkDomains, c.checkFiles, c.Limits.check} {
		if err := check(); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c config) checkAddresses() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if len(c.URLs) > maxURLs {
		return fmt.Errorf("urls: more than %d", maxURLs)
	}
	for _, text := range c.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Port() == "" || u.Hostname() == "" || text != strings.ToLower("https://"+u.Host) {
			return fmt.Errorf("urls: %q is not https://host:port in lower case", text)
		}
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

func (c config) checkDomains() error {
	if len(c.Domains) == 0 || len(c.Domains) > maxDomains {
		return fmt.Errorf("domains: 1 to %d domain ids have to be named", maxDomains)
	}
	for i, text := range c.Domains {
		id, err := hex.DecodeString(text)
		if err != nil || len(id) != len(wire.DomainID{}) || text != strings.ToLower(text) {
			return fmt.Errorf("domains: %q is not 64 lower-case hexadecimal digits", text)
		}
		if slices.Contains(c.Domains[:i], text) {
			return fmt.Errorf("domains: %s stands there twice", text)
		}
	}
	return nil
}

func (c config) checkFiles() error {
	if !filepath.IsAbs(c.Dir) {
		return errors.New("dir: the data directory has to be an absolute path")
	}
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		return errors.New("tls: certificate and key go together")
	}
	if c.NATS.URL == "" && (c.NATS.Credentials != "" || c.NATS.CA != "" || c.NATS.Replicas != 0) {
		return errors.New("nats: credentials, ca and replicas are a cluster's; url is missing")
	}
	if c.NATS.Replicas < 0 || c.NATS.Replicas > 5 {
		return errors.New("nats: replicas are 1 to 5")
	}
	for _, path := range []string{c.TLS.Certificate, c.TLS.Key, c.NATS.Credentials, c.NATS.CA} {
		if path != "" && !filepath.IsAbs(path) {
			return fmt.Errorf("%s is not an absolute path", path)
		}
	}
	return nil
}

func (l limitsConfig) check() error {
	for name, n := range map[string]int{
		"connections": l.Connections, "connections_per_address": l.ConnectionsPerAddress, "burst": l.Burst, "under_way": l.UnderWay,
		"bodies": l.Bodies, "bodies_per_address": l.BodiesPerAddress, "parcels": l.Parcels, "ring": l.Ring,
	} {
		if n < 0 || n > maxCount {
			return fmt.Errorf("limits: %s is below 0 or above %d", name, maxCount)
		}
	}
	switch {
	case !(l.Rate >= 0 && l.Rate <= maxCount):
		return fmt.Errorf("limits: rate is below 0 or above %d", maxCount)
	case l.ParcelHours < 0 || l.ParcelHours > maxParcelHours:
		return fmt.Errorf("limits: parcel_hours is below 0 or above %d", maxParcelHours)
	case l.ParcelBytes < 0 || l.ParcelBytes > maxDomainBytes || l.DomainBytes < 0 || l.DomainBytes > maxDomainBytes:
		return errors.New("limits: parcel_bytes or domain_bytes is below 0 or above a tebibyte")
	}
	return nil
}

func (l limitsConfig) limits() relay.Limits {
	return relay.Limits{
		Connections: l.Connections, ConnectionsPerAddress: l.ConnectionsPerAddress, Rate: l.Rate, Burst: l.Burst, UnderWay: l.UnderWay,
		Bodies: l.Bodies, BodiesPerAddress: l.BodiesPerAddress, Parcels: l.Parcels, ParcelBytes: l.ParcelBytes,
		ParcelLife: time.Duration(l.ParcelHours) * time.Hour, Ring: l.Ring,
	}
}

// domains returns the ids; check has seen that they are such.
func (c config) domains() []wire.DomainID {
	var out []wire.DomainID
	for _, text := range c.Domains {
		var id wire.DomainID
		hex.Decode(id[:], []byte(text))
		out = append(out, id)
	}
	return out
}

// replicas of a cluster's streams.
func (n natsConfig) replicas() int {
	if n.URL != "" && n.Replicas == 0 {
		return 3
	}
	return max(n.Replicas, 1)
}
