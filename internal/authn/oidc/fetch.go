// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"claviger/internal/authn"
	"claviger/internal/clock"
)

// How key sets are kept.
const (
	minFresh = 5 * time.Minute // a set is taken as it is
	maxFresh = 24 * time.Hour
	defFresh = time.Hour // unless the issuer says how long

	// MaxStale is how long after its last fetch a set is used while there is no
	// newer one to be had.
	MaxStale = 24 * time.Hour

	retry     = 30 * time.Second // between two fetches of one set
	patience  = 5 * time.Second  // for one document
	maxHeader = 32 << 10
)

// fetcher gets documents from issuers.
type fetcher struct {
	clock  clock.Clock
	log    *slog.Logger
	client *http.Client
}

func newFetcher(o Options) *fetcher {
	f := &fetcher{clock: o.Clock, log: o.Logger, client: &http.Client{
		Transport: o.Transport, Timeout: patience,
		// Security: whoever answers at an address may not send us on to another (T-64).
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if f.client.Transport == nil {
		f.client.Transport = &http.Transport{
			DialContext:         (&net.Dialer{Timeout: patience}).DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: patience, ResponseHeaderTimeout: patience, MaxResponseHeaderBytes: maxHeader,
			IdleConnTimeout: time.Minute, MaxIdleConns: 4,
		}
	}
	return f
}

// get reads one document, and says for how long it may be kept.
func (f *fetcher) get(ctx context.Context, address string) ([]byte, time.Duration, error) {
	// Security: keys that come over a line that anybody may change would let anybody
	// sign.
	if !mayFetch(address) {
		return nil, 0, errors.New("its address is neither https nor on this machine")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Accept", "application/json")
	answer, err := f.client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("it answers %d", answer.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxSet+1))
	if err != nil {
		return nil, 0, err
	}
	if len(data) > maxSet {
		return nil, 0, fmt.Errorf("it sends more than %d bytes", maxSet)
	}
	return data, freshness(answer.Header.Get("Cache-Control")), nil
}

// mayFetch reports whether an address is one that keys may come from.
func mayFetch(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.Host == "" || u.Fragment != "" || u.Opaque != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	return u.Scheme == "https" || u.Scheme == "http" && loopback
}

// local reports whether an address is of this machine, in any spelling.
func local(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip, name := net.ParseIP(u.Hostname()), strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

// freshness reads the max-age of a Cache-Control header.
func freshness(header string) time.Duration {
	for part := range strings.SplitSeq(header, ",") {
		text, ok := strings.CutPrefix(strings.TrimSpace(strings.ToLower(part)), "max-age=")
		if n, err := strconv.ParseUint(text, 10, 31); ok && err == nil {
			return min(max(time.Duration(n)*time.Second, minFresh), maxFresh)
		}
	}
	return defFresh
}

// discover finds the address of an issuer's key set (OpenID Connect Discovery 1.0,
// section 4).
func (f *fetcher) discover(ctx context.Context, issuer string) (string, error) {
	data, _, err := f.get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	o, err := readObject(data)
	if err != nil {
		return "", err
	}
	said, err := o.text("issuer")
	if err != nil {
		return "", err
	}
	// Security: what another issuer says of itself is not this one's.
	if said != issuer {
		return "", errors.New("it describes another issuer")
	}
	address, err := o.text("jwks_uri")
	// Security: an issuer elsewhere has us ask nothing of this machine (T-79).
	if err == nil && !local(issuer) && local(address) {
		return "", errors.New("its key set is said to be on this machine")
	}
	return address, err
}

// set fetches a key set.
func (f *fetcher) set(ctx context.Context, issuer, jwks string) ([]verificationKey, time.Duration, error) {
	if jwks == "" {
		var err error
		if jwks, err = f.discover(ctx, issuer); err != nil {
			return nil, 0, fmt.Errorf("discovery: %w", err)
		}
	}
	data, fresh, err := f.get(ctx, jwks)
	if err != nil {
		return nil, 0, err
	}
	keys, err := readSet(data)
	return keys, fresh, err
}

// source is one key set, kept. Ages are of the boot clock.
type source struct {
	fetch        *fetcher
	issuer, jwks string

	mu      sync.Mutex
	keys    []verificationKey
	got     time.Duration // when keys came
	fresh   time.Duration // how long they are taken as they are
	tried   time.Duration // when the last fetch began
	asked   bool          // whether there was one
	running chan struct{} // closed when the fetch that runs has ended
	pinned  bool          // nothing is fetched
}

// given is a key set that is not fetched. One that can't be read is empty.
func given(f *fetcher, is Issuer) *source {
	keys, err := readSet(is.Keys)
	if err != nil {
		keys = []verificationKey{}
	}
	return &source{fetch: f, issuer: is.URL, keys: keys, got: f.clock.Boot(), fresh: math.MaxInt64 - MaxStale, asked: true, pinned: true}
}

// named gives the keys of an id: usually one.
func (s *source) named(ctx context.Context, kid string) ([]verificationKey, error) {
	for range 3 { // as it is; after a fetch; after one that another began
		keys, wait := s.look(kid)
		if wait == nil {
			return keys, s.verdict(keys)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", authn.ErrAway, context.Cause(ctx))
		}
	}
	keys, _ := s.look(kid)
	return keys, s.verdict(keys)
}

func (s *source) verdict(keys []verificationKey) error {
	if len(keys) > 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.usable() {
		return refused("its issuer has no such key")
	}
	return fmt.Errorf("%w: %s", authn.ErrAway, s.issuer)
}

// usable reports whether there is a set that isn't too old. s.mu is held.
func (s *source) usable() bool {
	return s.keys != nil && s.fetch.clock.Boot()-s.got < s.fresh+MaxStale
}

// look gives the keys of an id, or the fetch that has to be waited for.
func (s *source) look(kid string) (found []verificationKey, wait <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.fetch.clock.Boot()
	if s.usable() {
		for _, k := range s.keys {
			if k.kid == kid {
				found = append(found, k)
			}
		}
	}
	stale := s.keys == nil || now-s.got >= s.fresh
	if !s.pinned && (stale || len(found) == 0) && s.running == nil && (!s.asked || now-s.tried >= retry) {
		s.asked, s.tried, s.running = true, now, make(chan struct{})
		go s.refresh(s.running)
	}
	if len(found) > 0 { // an old set will do while the new one comes
		return found, nil
	}
	return nil, s.running
}

// refresh fetches the set. It isn't the request's that asked for it: the next one
// profits too.
func (s *source) refresh(done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	keys, fresh, err := s.fetch.set(ctx, s.issuer, s.jwks)
	if err != nil {
		s.fetch.log.Warn("the key set of a token issuer could not be fetched", "issuer", s.issuer, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = nil
	if err == nil {
		s.keys, s.got, s.fresh = keys, s.fetch.clock.Boot(), fresh
	}
}
