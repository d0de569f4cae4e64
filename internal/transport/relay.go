// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"iter"
	"net"
	"net/http"
	"time"

	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// Bounds of a relay's lists in bytes: the messages and a few bytes for each.
const (
	maxIntroductions = wire.MaxBoardServers * (wire.MaxIntroduction + 8)
	maxStatements    = wire.MaxBoardServers * (wire.MaxStatement + 8)
)

// answerGrace is how much longer than a relay itself a client waits for an answer
// through it, so that it hears what the relay says about it.
const answerGrace = 5 * time.Second

// Relay speaks to one relay about one domain (docs/spec/relay.md). It is safe for
// concurrent use.
type Relay struct {
	address Address
	domain  wire.DomainID
	options Options
	web     *web
}

// NewRelay returns a Relay for an address of [KindRelay]. It connects to nothing.
func NewRelay(a Address, domain wire.DomainID, o Options) (*Relay, error) {
	if a.Kind != KindRelay {
		return nil, fmt.Errorf("%w: %q is no relay's", ErrAddress, a)
	}
	host, _, err := net.SplitHostPort(a.Host)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrAddress, a)
	}
	o = o.filled()
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: o.Roots, ServerName: host}
	if !a.Pin.IsZero() {
		config = tlscert.ClientConfig(a.Pin, nil)
	}
	return &Relay{address: a, domain: domain, options: o, web: newWeb(a.Host, config, o)}, nil
}

// Address is the relay's address.
func (r *Relay) Address() string { return r.address.String() }

// Close closes idle connections.
func (r *Relay) Close() { r.web.close() }

// Introductions fetches the newest introduction of each server that is at the
// relay. Nothing is verified.
func (r *Relay) Introductions(ctx context.Context) ([][]byte, error) {
	return r.list(ctx, "introductions", maxIntroductions)
}

// Statements fetches the newest statement of each server. Nothing is verified.
func (r *Relay) Statements(ctx context.Context) ([][]byte, error) {
	return r.list(ctx, "statements", maxStatements)
}

func (r *Relay) list(ctx context.Context, what string, limit int) ([][]byte, error) {
	data, err := r.web.do(ctx, request{method: http.MethodGet, path: r.board(what), want: kindCBOR, limit: limit})
	if err != nil {
		return nil, err
	}
	var out [][]byte
	if err := wire.Unmarshal(data, &out, limit); err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", what, r.web.host, err)
	}
	if len(out) > wire.MaxBoardServers {
		return nil, fmt.Errorf("read %s of %s: %w", what, r.web.host, errTooLarge)
	}
	return out, nil
}

func (r *Relay) board(what string) string { return "/v1/board/" + r.domain.String() + "/" + what }

// Follow yields the newest statement of each server, then each new one as it
// comes, until the connection ends, with an error last. Nothing is verified.
// [Again] is for who wants to go on then.
func (r *Relay) Follow(ctx context.Context) iter.Seq2[[]byte, error] {
	return r.web.frames(ctx, request{method: http.MethodGet, path: r.board("follow"), want: kindCBOR, limit: wire.MaxStatement})
}

// Exchange sends a sealed message to the peer's mailbox and waits for the sealed
// answer, of which nothing is verified. What the server said instead of an answer
// is an [Error] like the relay's own: both are unsigned. The same bytes may be
// sent again, here or elsewhere.
func (r *Relay) Exchange(ctx context.Context, to Peer, sealed []byte) ([]byte, error) {
	if to.Mailbox.IsZero() {
		return nil, fmt.Errorf("ask %s: %w", r.web.host, ErrNoMailbox)
	}
	question := request{
		method: http.MethodPost, path: "/v1/mailbox/" + to.Mailbox.String() + "/exchange", kind: kindCBOR, body: sealed,
		want: kindCBOR, limit: maxAnswer,
	}
	if len(to.Token) > 0 {
		question.header = [2]string{"Claviger-Token", base64.RawURLEncoding.EncodeToString(to.Token)}
	}
	w := *r.web
	w.timeout += answerGrace
	answer, err := w.do(ctx, question)
	if err != nil {
		return nil, err
	}
	return answerOrTrouble(r.web.host, answer)
}

// answerOrTrouble tells a sealed answer from what a server said instead.
func answerOrTrouble(address string, answer []byte) ([]byte, error) {
	if t, err := wire.ParseTrouble(answer); err == nil {
		return nil, &Error{
			Address: address, Status: int(t.Status), Code: printable(t.Code, 32), Message: printable(t.Message, 256),
			RetryAfter: time.Duration(t.RetryAfter) * time.Second,
		}
	}
	return answer, nil
}
