// SPDX-License-Identifier: Apache-2.0

// Package sendtoken makes the send tokens that open a domain's mailboxes at relays
// and directories (docs/spec/relay.md, section 2).
//
// They are derived and not drawn: the same ones work at every server of the
// domain, and after a restart, when a client that knows relays only could ask
// nobody for another. Each is handed out for a day and opens mailboxes for two
// weeks, so that a client may rest that long.
//
// They keep strangers from filling mailboxes and open nothing else. A client that
// is revoked keeps its token for as long.
package sendtoken

import (
	"encoding/binary"
	"time"

	"claviger/internal/kdf"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Tokens are the send tokens of one domain. They are safe for concurrent use but
// for Wipe.
type Tokens struct{ key *secret.HMAC }

// New derives them from the domain's local seal, which stays the caller's.
func New(local *secret.Bytes, domain wire.DomainID) *Tokens {
	key := kdf.Expand(local, domain, "send-token")
	defer key.Wipe()
	return &Tokens{secret.NewHMAC(key)}
}

// Wipe forgets them; nil has nothing to forget.
func (t *Tokens) Wipe() {
	if t != nil {
		t.key.Wipe()
	}
}

// Of is the token of a day, in UTC: wire.SendTokenSize bytes.
func (t *Tokens) Of(now time.Time) []byte { return t.of(dayOf(now)) }

func (t *Tokens) of(day int64) []byte {
	sum := t.key.Sum(binary.BigEndian.AppendUint64(nil, uint64(day)))
	return sum[:wire.SendTokenSize]
}

func dayOf(now time.Time) int64 { return now.Unix() / (24 * 3600) }

// Good are the hashes of the tokens that open mailboxes: tomorrow's, for servers
// whose clocks differ, today's, and those of the days before.
func (t *Tokens) Good(now time.Time) []wire.Hash {
	out := make([]wire.Hash, wire.MaxSendTokens)
	for i := range out {
		out[i] = wire.SendTokenHash(t.of(dayOf(now) + 1 - int64(i)))
	}
	return out
}
