// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"claviger/internal/members"
	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// Errors of reaching a server and believing it.
var (
	// ErrUnreachable means that no server answered, or that what answered is none.
	ErrUnreachable = errors.New("no key server answers")
	// ErrIntegrity means that a server said something that can't be true.
	ErrIntegrity = errors.New("the server is not to be believed")
	// ErrRollback means that a server shows an older or another history than this
	// profile has seen. It is an ErrIntegrity.
	ErrRollback = fmt.Errorf("%w: rollback", ErrIntegrity)
	// ErrDemo means that a demo domain meets a profile that is none of a demo, or
	// the other way round.
	ErrDemo = errors.New("demo domains and real ones don't mix")
	// ErrNotMember means that the profile's key is no authority key of the domain,
	// and no recovery key.
	ErrNotMember = errors.New("this profile's key is no authority key of the domain")
)

// Limits of what is taken from a server.
const (
	answerTimeout = 30 * time.Second
	dialTimeout   = 5 * time.Second
	maxError      = 16 << 10
	maxAnswer     = 1 << 20
	maxPage       = 6 << 20 // a page holds up to 4 MiB of records
)

// ServerError is a refusal in a server's own words. They are not signed: they
// explain why something was not done, and prove nothing.
type ServerError struct {
	Status    int    `json:"-"` // HTTP status
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}

// What ServerError matches under errors.Is.
var (
	ErrSealed = errors.New("the server is sealed")
	ErrDenied = errors.New("denied by the server")
)

// Is sorts refusals: ErrSealed, ErrDenied, ErrNotFound.
func (e *ServerError) Is(target error) bool {
	switch e.Code {
	case "sealed":
		return target == ErrSealed
	case "denied", "unauthenticated":
		return target == ErrDenied
	case "not-found":
		return target == ErrNotFound
	}
	return false
}

// Error gives the server's message.
func (e *ServerError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the server refused with status %d", e.Status)
	}
	return e.Message
}

// link is a verified connection to one server.
type link struct {
	address    string
	client     *http.Client
	descriptor *wire.Descriptor
	signed     []byte // the descriptor as the server signed it
	members    *members.State
}

// dial reaches the first server that answers. One that answers with something
// that can't be true ends it: that is no outage.
func (c *connector) dial(ctx context.Context) (*link, error) {
	var failed error
	for _, address := range c.p.Addresses {
		l, err := c.dialOne(ctx, address)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, ErrUnreachable) {
			return nil, err
		}
		failed = errors.Join(failed, err)
	}
	if failed == nil {
		return nil, fmt.Errorf("%w: the profile names no address", ErrUnreachable)
	}
	return nil, failed
}

func (c *connector) dialOne(ctx context.Context, address string) (*link, error) {
	first := newHTTP(anyServer())
	defer first.CloseIdleConnections()
	data, err := get(ctx, first, "https://"+address+"/v1/introduction", wire.MaxIntroduction)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	l := &link{address: address}
	if err := c.introduce(l, data); err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	l.client = newHTTP(tlscert.ClientConfig(l.descriptor.TLS, nil))
	return l, nil
}

// anyServer accepts whoever answers.
//
// Security: nothing is proved on such a connection. What comes over it has to
// lead from the pinned domain id to the TLS key of the next one.
func anyServer() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}
}

// introduce verifies an introduction against the pin and the newest member chain
// that the profile has accepted.
func (c *connector) introduce(l *link, data []byte) error {
	intro, err := wire.ParseIntroduction(data)
	if err != nil {
		return fmt.Errorf("%w: introduction: %w", ErrIntegrity, err)
	}
	l.members, err = members.Verify(intro.Members, c.p.Domain)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrIntegrity, err)
	}
	if l.members.Genesis.Demo != c.p.Demo {
		return ErrDemo
	}
	if err := c.newest(l.members); err != nil {
		return err
	}
	peek, err := wire.PeekDescriptor(intro.Descriptor)
	if err != nil {
		return fmt.Errorf("%w: descriptor: %w", ErrIntegrity, err)
	}
	key, err := l.members.ServerKey(peek.Server)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrIntegrity, err)
	}
	l.signed = intro.Descriptor
	l.descriptor, err = wire.ParseDescriptor(intro.Descriptor, key)
	if err != nil {
		return fmt.Errorf("%w: descriptor: %w", ErrIntegrity, err)
	}
	now := c.o.Clock.Now().UnixMilli()
	if l.descriptor.Domain != c.p.Domain {
		return fmt.Errorf("%w: the descriptor is another domain's", ErrIntegrity)
	}
	if now > l.descriptor.NotAfter+maxSkew || now < l.descriptor.Issued-maxSkew {
		return fmt.Errorf("%w: the descriptor is not of this time; look at the clocks of this machine and the server's", ErrUnreachable)
	}
	return nil
}

// maxSkew is how far the clocks of an admin and a server may be apart, in
// milliseconds (as authn.Skew).
const maxSkew = 60_000

// newest holds that a chain goes on from the one accepted last: otherwise who
// was removed since could speak again.
func (c *connector) newest(m *members.State) error {
	chain, err := c.p.chain()
	if err != nil || chain == nil {
		return err
	}
	known, err := members.Verify(chain, c.p.Domain)
	if err != nil {
		return fmt.Errorf("the profile's member chain: %w", err)
	}
	if !m.Contains(known.Newest) {
		return fmt.Errorf("%w: its member chain lacks changes that this profile has seen", ErrRollback)
	}
	return nil
}

// newHTTP returns a client that asks exactly the server it was given: no proxy,
// no redirect, no compression that could blow up.
func newHTTP(config *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:       config,
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: answerTimeout,
			DisableCompression:    true,
			MaxIdleConns:          1,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get fetches what needs no credential.
func get(ctx context.Context, client *http.Client, url string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	resp, err := send(client, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readAnswer(resp.Body, limit)
}

// call sends a request that the given key signs and returns the whole answer.
func (s *Session) call(ctx context.Context, r request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	body, err := s.stream(ctx, r)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return readAnswer(body, r.limit)
}

// request is one request of an admin.
type request struct {
	method string
	target string // path and query
	body   []byte
	write  bool  // must be signed by the authority key itself
	limit  int64 // bytes of the answer, where it is read whole
}

// stream sends a request and hands out the answer as it comes. A kept session
// that the server refuses is forgotten and the request made once more.
func (s *Session) stream(ctx context.Context, r request) (io.ReadCloser, error) {
	body, err := s.attempt(ctx, r)
	refused, ok := errors.AsType[*ServerError](err)
	if ok && refused.Status == http.StatusUnauthorized && s.kept && !r.write {
		s.read, s.kept = nil, false
		if err := os.Remove(filepath.Join(s.p.dir, sessionFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("forget session: %w", err)
		}
		return s.attempt(ctx, r)
	}
	s.kept = s.kept || err == nil && !r.write
	return body, err
}

func (s *Session) attempt(ctx context.Context, r request) (io.ReadCloser, error) {
	signer, err := s.signer(ctx, r.write)
	if err != nil {
		return nil, err
	}
	authorization, err := signer.Sign(r.method, r.target, r.body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, r.method, "https://"+s.link.address+r.target, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	req.Header.Set("Authorization", authorization)
	resp, err := send(s.link.client, req)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// send does one exchange; whatever is no success is an error.
func send(client *http.Client, req *http.Request) (*http.Response, error) {
	resp, err := client.Do(req)
	switch {
	case err == nil:
	case req.Context().Err() != nil && !errors.Is(req.Context().Err(), context.DeadlineExceeded):
		return nil, req.Context().Err()
	case errors.Is(err, tlscert.ErrPin):
		return nil, fmt.Errorf("%w: %w", ErrIntegrity, tlscert.ErrPin)
	default:
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, bare(err))
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// bare is an error of the network without what the caller says anyway: the
// request, and the address.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		err = e.Err
	}
	return err
}

func refusal(resp *http.Response) error {
	var body struct {
		Error ServerError `json:"error"`
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if err != nil || json.Unmarshal(data, &body) != nil || body.Error.Code == "" {
		return fmt.Errorf("%w: status %d from something that is no key server", ErrUnreachable, resp.StatusCode)
	}
	body.Error.Status = resp.StatusCode
	return &body.Error
}

func readAnswer(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%w: the answer broke off: %w", ErrUnreachable, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: an answer of more than %d bytes", ErrIntegrity, limit)
	}
	return data, nil
}
