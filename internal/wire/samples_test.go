// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"reflect"

	"claviger/internal/wire"
)

// sample is one message with every field set, and how it is read.
type sample struct {
	name  string
	typ   string // type string, "" for a part of another message
	value any    // a pointer
	limit int
	parse func(data []byte) error // of the payload's bytes; nil if it is read only as a part
}

// fixedKey is the same in every run: vectors depend on it.
func fixedKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// pattern is n bytes that count up from a start.
func pattern(start byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = start + byte(i)
	}
	return out
}

func hash(start byte) wire.Hash { return wire.Hash(pattern(start, 32)) }

func ignore[T any](parse func([]byte) (T, error)) func([]byte) error {
	return func(data []byte) error {
		_, err := parse(data)
		return err
	}
}

// withKey reads a payload as the inside of a message that a server signed.
func withKey[T any](typ string, parse func([]byte, crypto.PublicKey) (T, error)) func([]byte) error {
	key := fixedKey("server")
	return func(payload []byte) error {
		msg, err := wire.Sign(typ, payload, key)
		if err != nil {
			return err
		}
		_, err = parse(msg, key.Public())
		return err
	}
}

func publicOf(name string) []byte { return fixedKey(name).Public().(ed25519.PublicKey) }

// withMailbox reads a payload as the inside of a message that a mailbox signed.
func withMailbox[T any](typ string, parse func([]byte) (T, error)) func([]byte) error {
	return func(payload []byte) error {
		msg, err := wire.Sign(typ, payload, fixedKey("mailbox"))
		if err != nil {
			return err
		}
		_, err = parse(msg)
		return err
	}
}

func samples() []sample {
	domain, server, client := wire.DomainID(pattern(1, 32)), wire.ServerID(pattern(2, 16)), "spiffe://test/workload/ci/build"
	epoch := wire.Epoch{Generation: 2, Position: 700}
	item := wire.Item{Name: "payments/cards", Version: 3, Purpose: wire.PurposeData, Partition: []byte{0, 0xff}, Operations: []string{"encrypt", "decrypt"}}
	allowed := wire.GrantItem{
		KeyID: wire.KeyID(pattern(3, 16)), Name: "payments/cards", Version: 3, State: wire.StateActive, Algorithm: "aes256",
		Purpose: wire.PurposeData, Partition: []byte{0, 0xff}, Operations: []string{"encrypt"}, Decision: wire.DecisionAllowed,
		KC: pattern(4, 32), Lease: 3600, Staleness: 900, Revocation: []wire.RevocationID{wire.RevocationID(pattern(5, 16))},
		AuditLog: 1, AuditIndex: 1 << 33,
	}
	denied := wire.GrantItem{Name: "a", Purpose: wire.PurposeMAC, Decision: wire.DecisionDenied, Reason: "no policy allows it"}
	link := wire.Link{
		Type: wire.TypeRecord, Epoch: epoch, Previous: hash(6), Time: 1_777_777_777_777, Server: server, Content: wire.EntryHash([]byte("entry")),
	}
	return []sample{
		{"body", wire.TypeBody, &wire.Body{
			Type: wire.TypeBody, Domain: domain, Kind: "policy.set", ID: wire.BodyID(pattern(7, 16)), Base: epoch, BaseHead: hash(8),
			Expires: 1_777_777_777_777, Replaces: hash(9), Payload: []byte{0x83, 1, 2, 3},
		}, wire.MaxBody, ignore(wire.ParseBody)},
		{"record", wire.TypeRecord, &wire.Record{Link: link, Sealed: pattern(10, 80)}, wire.MaxRecord, ignore(wire.ParseRecord)},
		{"opened record", "", &wire.Opened{Link: link, Entry: []byte("entry")}, wire.MaxRecord, ignore(wire.ParseOpened)},
		{"request", wire.TypeRequest, &wire.Request{
			Type: wire.TypeRequest, Domain: domain, Client: client, HPKE: pattern(11, wire.PublicKeySize), Items: []wire.Item{item},
			Descriptor: hash(12), Nonce: [32]byte(pattern(13, 32)), Statement: []byte("statement"), NotAfter: 1_777_777_777_777,
			Reason: "nightly", Evidence: []byte("evidence"), Mailbox: hash(46),
			Standing: [][]byte{pattern(47, wire.PublicKeySize), pattern(48, wire.PublicKeySize)}, Until: 1_777_777_777_777 + 24*3600*1000,
		}, wire.MaxRequest, ignore(wire.ParseRequest)},
		{"grant", wire.TypeGrant, &wire.Grant{
			Type: wire.TypeGrant, Domain: domain, Server: server, Client: client, HPKE: hash(14), Request: hash(15), Epoch: epoch, Head: hash(16),
			Members: hash(17), Issued: 1_777_777_777_777, Items: []wire.GrantItem{allowed, denied},
		}, wire.MaxRelease, withKey(wire.TypeGrant, wire.ParseGrant)},
		{"release", "", &wire.Release{Grant: []byte("grant"), Keys: [][]byte{pattern(18, 32), {}}, SendToken: pattern(19, 32)}, wire.MaxRelease, ignore(wire.ParseRelease)},
		{"descriptor", wire.TypeDescriptor, &wire.Descriptor{
			Type: wire.TypeDescriptor, Domain: domain, Server: server, HPKE: pattern(20, wire.PublicKeySize), TLS: hash(21), Mailbox: hash(22),
			Issued: 1_777_777_777_777, NotAfter: 1_777_777_777_777 + 24*3600*1000,
		}, wire.MaxDescriptor, withKey(wire.TypeDescriptor, wire.ParseDescriptor)},
		{"statement", wire.TypeStatement, &wire.Statement{
			Type: wire.TypeStatement, Domain: domain, Server: server, Epoch: epoch, Head: hash(23),
			Checkpoint: wire.Checkpoint{Log: 1, Size: 99, Root: hash(24)}, Members: hash(25), Issued: 1_777_777_777_777,
			Revoked: []wire.RevocationID{wire.RevokeEverything, wire.RevocationID(pattern(26, 16))},
		}, wire.MaxStatement, withKey(wire.TypeStatement, wire.ParseStatement)},
		{"introduction", "", &wire.Introduction{Descriptor: []byte("descriptor"), Members: [][]byte{[]byte("genesis"), []byte("join")}}, wire.MaxIntroduction, ignore(wire.ParseIntroduction)},
		{"enrolment", wire.TypeEnroll, &wire.Enroll{
			Type: wire.TypeEnroll, Domain: domain, Invite: wire.BodyID(pattern(27, 16)), CSR: []byte("csr"), HPKE: pattern(28, wire.PublicKeySize),
			Descriptor: hash(29), Nonce: [32]byte(pattern(30, 32)), NotAfter: 1_777_777_777_777,
		}, wire.MaxEnroll, ignore(wire.ParseEnroll)},
		{"renewal", wire.TypeRenew, &wire.Renew{
			Type: wire.TypeRenew, Domain: domain, Client: client, CSR: []byte("csr"), HPKE: pattern(31, wire.PublicKeySize),
			Descriptor: hash(32), Nonce: [32]byte(pattern(33, 32)), NotAfter: 1_777_777_777_777,
		}, wire.MaxEnroll, ignore(wire.ParseRenew)},
		{"enrolled", wire.TypeEnrolled, &wire.Enrolled{
			Type: wire.TypeEnrolled, Domain: domain, Server: server, Client: client, Request: hash(34), Epoch: epoch, Head: hash(35),
			Members: hash(36), Issued: 1_777_777_777_777, Chain: [][]byte{[]byte("leaf"), []byte("issuer")},
		}, wire.MaxEnroll, withKey(wire.TypeEnrolled, wire.ParseEnrolled)},
		{"admin request", wire.TypeAdminRequest, &wire.AdminRequest{
			Type: wire.TypeAdminRequest, Domain: domain, TLS: hash(37), Method: "POST", Target: "/v1/admin/entries", Body: wire.BodyDigest([]byte("body")),
			Nonce: [16]byte(pattern(38, 16)), Issued: 1_777_777_777_777,
		}, wire.MaxAdminRequest, ignore(wire.ParseAdminRequest)},
		{"admin session", wire.TypeAdminSession, &wire.AdminSession{
			Type: wire.TypeAdminSession, Domain: domain, Key: pattern(39, 32), Issued: 1_777_777_777_777, NotAfter: 1_777_777_777_777 + wire.MaxSessionLife,
		}, wire.MaxAdminRequest, withKey(wire.TypeAdminSession, wire.ParseAdminSession)},
		{"invite", wire.TypeInvite, &wire.Invite{
			Type: wire.TypeInvite, Domain: domain, Members: hash(40), Addresses: []string{"10.0.0.1:8443"}, SendToken: pattern(41, 32),
			ID: wire.BodyID(pattern(42, 16)), Seed: pattern(43, 32), Client: client, Expires: 1_777_777_777_777,
		}, 2 << 10, parseInviteBytes},
		{"mailbox request", wire.TypeMailboxRequest, &wire.MailboxRequest{
			Type: wire.TypeMailboxRequest, Mailbox: publicOf("mailbox"), Audience: "https://relay.example:8444", Method: "GET",
			Target: "/v1/mailbox/00/receive", Body: wire.BodyDigest(nil), Nonce: [16]byte(pattern(49, 16)), Issued: 1_777_777_777_777,
		}, wire.MaxMailboxRequest, withMailbox(wire.TypeMailboxRequest, wire.ParseMailboxRequest)},
		{"acknowledgement", wire.TypeAck, &wire.Ack{
			Type: wire.TypeAck, Domain: domain, Mailbox: publicOf("mailbox"), Descriptor: hash(50), Epoch: epoch, Head: hash(51),
			At: 1_777_777_777_777, NotAfter: 1_777_777_777_777, Gone: true,
		}, wire.MaxAck, withMailbox(wire.TypeAck, wire.ParseAck)},
		{"delivery", "", &wire.Delivery{Correlation: pattern(52, 32), Data: []byte("sealed")}, wire.MaxDelivery, ignore(wire.ParseDelivery)},
		{"trouble", wire.TypeTrouble, &wire.Trouble{Type: wire.TypeTrouble, Status: 429, Code: "busy", Message: "try again", RetryAfter: 1},
			wire.MaxTrouble, ignore(wire.ParseTrouble)},
		{"sealed", "", &wire.Sealed{Type: wire.TypeRelease, Enc: pattern(44, 1120), CT: pattern(45, 40)}, wire.MaxSealedSize, nil},
	}
}

// again decodes into a new value of the sample's type.
func (s sample) again(data []byte) (any, error) {
	v := reflect.New(reflect.TypeOf(s.value).Elem()).Interface()
	return v, wire.Unmarshal(data, v, s.limit)
}

// edited is the encoding of a copy of the sample, changed.
func edited[T any](s sample, edit func(*T)) []byte {
	v := *s.value.(*T)
	edit(&v)
	return wire.Marshal(v)
}

func sampleNamed(name string) sample {
	for _, s := range samples() {
		if s.name == name {
			return s
		}
	}
	panic("no sample " + name)
}

func equal(a, b any) bool { return bytes.Equal(wire.Marshal(a), wire.Marshal(b)) }
