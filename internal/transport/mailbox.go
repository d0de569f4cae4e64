// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"time"

	"claviger/internal/wire"
)

// ErrNoMailbox means that a server can't be asked this way: its descriptor names
// no mailbox.
var ErrNoMailbox = errors.New("the server is at no relay or directory")

// Mailbox is a key pair whose holder reads what others sent to its id. It lives
// in memory only: a server makes one at each start, a client for each run.
type Mailbox struct {
	key ed25519.PrivateKey
	id  wire.Hash
}

// NewMailbox makes a mailbox.
func NewMailbox() *Mailbox {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic("transport: Ed25519 key generation: " + err.Error())
	}
	return &Mailbox{key: key, id: wire.MailboxID(public)}
}

// ID names the mailbox: [wire.MailboxID] of its public key.
func (m *Mailbox) ID() wire.Hash { return m.id }

// Public is the mailbox's public key, 32 bytes.
func (m *Mailbox) Public() ed25519.PublicKey { return m.key.Public().(ed25519.PublicKey) }

// Sign signs a message that names the mailbox's key, such as [wire.Ack].
func (m *Mailbox) Sign(typ string, payload []byte) ([]byte, error) {
	return wire.Sign(typ, payload, m.key)
}

// RelayOwner is a relay as the holder of a mailbox uses it. Every call can be
// repeated without harm.
type RelayOwner struct {
	relay   *Relay
	mailbox *Mailbox
}

// As returns the relay as the holder of m uses it.
func (r *Relay) As(m *Mailbox) *RelayOwner { return &RelayOwner{r, m} }

// Close closes idle connections.
func (o *RelayOwner) Close() { o.relay.Close() }

// Address is the relay's address.
func (o *RelayOwner) Address() string { return o.relay.Address() }

// PutIntroduction puts a server's introduction on the board.
func (o *RelayOwner) PutIntroduction(ctx context.Context, introduction []byte) error {
	return o.put(ctx, o.relay.board("introduction"), introduction)
}

// PutStatement puts a server's signed statement on the board; who follows gets it
// at once.
func (o *RelayOwner) PutStatement(ctx context.Context, signed []byte) error {
	return o.put(ctx, o.relay.board("statement"), signed)
}

// PutTokens names the send tokens that open the mailbox from now on, by
// [wire.SendTokenHash]: 1 to 4 of them.
func (o *RelayOwner) PutTokens(ctx context.Context, hashes []wire.Hash) error {
	return o.put(ctx, o.own("/tokens"), wire.Marshal(hashes))
}

// PutParcel leaves a sealed message for a mailbox until it is fetched and
// deleted, or expires.
func (o *RelayOwner) PutParcel(ctx context.Context, to wire.Hash, expires time.Time, sealed []byte) error {
	return o.put(ctx, o.relay.board("parcels/"+to.String())+"?expires="+strconv.FormatInt(expires.UnixMilli(), 10), sealed)
}

// DeleteParcel deletes a parcel that Receive yielded.
func (o *RelayOwner) DeleteParcel(ctx context.Context, number uint64) error {
	return o.do(ctx, request{method: http.MethodDelete, path: o.own("/parcels/" + strconv.FormatUint(number, 10))})
}

// Answer sends the sealed answer, or a [wire.Trouble], to who waits for it.
func (o *RelayOwner) Answer(ctx context.Context, correlation, answer []byte) error {
	_, err := o.relay.web.do(ctx, request{method: http.MethodPost, path: "/v1/answer/" + hex.EncodeToString(correlation), kind: kindCBOR, body: answer})
	return err
}

// Receive yields what is sent to the mailbox until the connection ends, with an
// error last. Anything may come, also twice. A message that the consumer doesn't
// take in time is the sender's to repeat.
func (o *RelayOwner) Receive(ctx context.Context) iter.Seq2[*wire.Delivery, error] {
	return func(yield func(*wire.Delivery, error) bool) {
		r, err := o.signed(request{method: http.MethodGet, path: o.own("/receive"), want: kindCBOR, limit: wire.MaxDelivery})
		if err != nil {
			yield(nil, err)
			return
		}
		for frame, err := range o.relay.web.frames(ctx, r) {
			if err != nil {
				yield(nil, err)
				return
			}
			d, err := wire.ParseDelivery(frame)
			if err != nil {
				yield(nil, fmt.Errorf("receive from %s: %w", o.relay.web.host, err))
				return
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

// own is the path of something of the mailbox.
func (o *RelayOwner) own(what string) string { return "/v1/mailbox/" + o.mailbox.id.String() + what }

func (o *RelayOwner) put(ctx context.Context, path string, body []byte) error {
	return o.do(ctx, request{method: http.MethodPut, path: path, kind: kindCBOR, body: body})
}

func (o *RelayOwner) do(ctx context.Context, r request) error {
	r, err := o.signed(r)
	if err != nil {
		return err
	}
	_, err = o.relay.web.do(ctx, r)
	return err
}

// signed proves the mailbox's key in the request's header.
func (o *RelayOwner) signed(r request) (request, error) {
	m := wire.MailboxRequest{
		Type: wire.TypeMailboxRequest, Mailbox: o.mailbox.Public(), Audience: "https://" + o.relay.address.Host, Method: r.method,
		Target: r.path, Body: wire.BodyDigest(r.body), Issued: o.relay.options.Clock.Now().UnixMilli(),
	}
	rand.Read(m.Nonce[:])
	signed, err := o.mailbox.Sign(wire.TypeMailboxRequest, wire.Marshal(m))
	if err != nil {
		return r, fmt.Errorf("sign mailbox request: %w", err)
	}
	r.header = [2]string{"Authorization", "Claviger " + base64.RawURLEncoding.EncodeToString(signed)}
	return r, nil
}
