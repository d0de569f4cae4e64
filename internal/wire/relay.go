// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto"
	"crypto/ed25519"
	"fmt"
)

// Type strings of what relays and mailboxes use.
const (
	TypeMailboxRequest = "claviger/v1/mailbox-request"
	TypeAck            = "claviger/v1/ack"
	TypeTrouble        = "claviger/v1/trouble"
)

// Limits.
const (
	MaxMailboxRequest = 4 << 10
	MaxAck            = 4 << 10
	MaxParcel         = MaxRelease + 8<<10
	MaxDelivery       = MaxSealedSize + 256
	MaxBoardServers   = 16
	MaxSendTokens     = 16
	SendTokenSize     = 16 // bytes
	MaxTrouble        = 1 << 10
	MaxRetryAfter     = 60 // seconds
)

// MailboxID names a mailbox by its public key.
func MailboxID(public ed25519.PublicKey) Hash { return Sum("mailbox", public) }

// SendTokenHash is what a relay knows of a send token.
func SendTokenHash(token []byte) Hash { return Sum("send-token", token) }

// MailboxRequest is the signed part of an HTTP request to a relay by who owns a
// mailbox. It is bound to the relay's origin, so that no other relay can use it.
type MailboxRequest struct {
	_        struct{} `cbor:",toarray"`
	Type     string   // TypeMailboxRequest
	Mailbox  []byte   // Ed25519 public key, 32 bytes
	Audience string   // origin that was asked: https://host:port
	Method   string   // HTTP method
	Target   string   // path and query as sent
	Body     Hash     // Sum("http-body", body)
	Nonce    [16]byte
	Issued   int64 // Unix milliseconds
}

// ParseMailboxRequest reads a signed mailbox request and verifies it with the
// key that it names. Audience, target, body and time are the caller's to check.
func ParseMailboxRequest(signed []byte) (*MailboxRequest, error) {
	var m MailboxRequest
	if err := openOwn(TypeMailboxRequest, signed, MaxMailboxRequest, &m, func() []byte { return m.Mailbox }); err != nil {
		return nil, err
	}
	if m.Type != TypeMailboxRequest || !validTime(m.Issued) || len(m.Audience) > 512 || len(m.Target) > 2048 || len(m.Method) > 8 {
		return nil, fmt.Errorf("%w: mailbox request", ErrMalformed)
	}
	return &m, nil
}

// Ack says that the holder of a mailbox has dropped every lease that the server
// revoked up to an epoch. It is signed with the mailbox's key and sealed to a
// descriptor like a request; it needs no answer.
type Ack struct {
	_          struct{} `cbor:",toarray"`
	Type       string   // TypeAck
	Domain     DomainID
	Mailbox    []byte // Ed25519 public key, 32 bytes; its MailboxID stood in the holder's requests
	Descriptor Hash   // DescriptorHash of the one it is sealed to
	Epoch      Epoch  // of the statement that was obeyed
	Head       Hash
	At         int64 // Unix milliseconds in server time, as the holder reckons it: when the last of them was dropped
	NotAfter   int64 // Unix milliseconds, at most 60 s ahead
	Gone       bool  // the holder has ended: it has dropped every lease, revoked or not
}

// ParseAck reads the signed acknowledgement and verifies it with the mailbox key
// that it names: whose mailbox that is, the caller has to know.
func ParseAck(signed []byte) (*Ack, error) {
	var a Ack
	if err := openOwn(TypeAck, signed, MaxAck, &a, func() []byte { return a.Mailbox }); err != nil {
		return nil, err
	}
	if a.Type != TypeAck || !validTime(a.At) || !validTime(a.NotAfter) {
		return nil, fmt.Errorf("%w: acknowledgement", ErrMalformed)
	}
	return &a, nil
}

// openOwn reads a message that is signed by the Ed25519 key that stands in it.
func openOwn(typ string, signed []byte, limit int, v any, key func() []byte) error {
	parsed, err := ParseSigned(typ, signed, limit)
	if err != nil {
		return err
	}
	if err := Unmarshal(parsed.Payload, v, limit); err != nil {
		return err
	}
	if len(key()) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: %s", ErrMalformed, typ)
	}
	var public crypto.PublicKey = ed25519.PublicKey(key())
	if err := parsed.Verify(public); err != nil {
		return fmt.Errorf("verify %s: %w", typ, err)
	}
	return nil
}

// Delivery is what a relay hands to the owner of a mailbox.
type Delivery struct {
	_           struct{} `cbor:",toarray"`
	Correlation []byte   // 32 bytes where an answer is awaited; empty for a parcel at rest
	Number      uint64   // of a parcel at rest; 0 where an answer is awaited
	Data        []byte   // the sealed message
}

// ParseDelivery reads a delivery.
func ParseDelivery(data []byte) (*Delivery, error) {
	var d Delivery
	if err := Unmarshal(data, &d, MaxDelivery); err != nil {
		return nil, err
	}
	if asked := len(d.Correlation) == 32 && d.Number == 0; !asked && (len(d.Correlation) != 0 || d.Number == 0) {
		return nil, fmt.Errorf("%w: delivery", ErrMalformed)
	}
	return &d, nil
}

// Trouble is what a server says, unsigned, through a relay or a directory when
// it has no sealed answer: the error that its native API would have shown. Who
// carries it could have made it up, so it is trouble on the way and never a fact.
type Trouble struct {
	_          struct{} `cbor:",toarray"`
	Type       string   // TypeTrouble
	Status     uint16   // HTTP status of the same error at the native API: 400 to 599
	Code       string   // "busy", "malformed", …; at most 32 bytes
	Message    string   // at most 256 bytes
	RetryAfter uint16   // seconds, at most MaxRetryAfter; 0 without
}

// ParseTrouble reads what came instead of a sealed answer.
func ParseTrouble(data []byte) (*Trouble, error) {
	var t Trouble
	if err := Unmarshal(data, &t, MaxTrouble); err != nil {
		return nil, err
	}
	if t.Type != TypeTrouble || t.Status < 400 || t.Status > 599 || t.Code == "" || len(t.Code) > 32 || len(t.Message) > 256 || t.RetryAfter > MaxRetryAfter {
		return nil, fmt.Errorf("%w: trouble", ErrMalformed)
	}
	return &t, nil
}
