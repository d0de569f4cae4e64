// SPDX-License-Identifier: Apache-2.0

package keyservertest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"time"

	"claviger/internal/clock"
	"claviger/internal/wire"
)

// NewMailbox gives the workload a mailbox, as each run of a client has its own.
func (w *Workload) NewMailbox() {
	_, w.Mailbox, _ = ed25519.GenerateKey(rand.Reader)
}

// Ack is what the workload says when it has obeyed the log as it is now.
func (r *Rig) Ack(w *Workload) wire.Ack {
	r.T.Helper()
	s, now := r.Replay(), clock.System().Now()
	return wire.Ack{
		Type: wire.TypeAck, Domain: r.Founded.Domain, Mailbox: w.Mailbox.Public().(ed25519.PublicKey),
		Descriptor: wire.DescriptorHash(r.Signed), Epoch: s.Epoch, Head: s.Head, At: now.UnixMilli(),
		NotAfter: now.Add(30 * time.Second).UnixMilli(),
	}
}

// SealAck signs an acknowledgement and seals it to the server.
func (r *Rig) SealAck(w *Workload, ack wire.Ack) []byte {
	r.T.Helper()
	msg, err := wire.Sign(wire.TypeAck, wire.Marshal(ack), w.Mailbox)
	if err != nil {
		r.T.Fatal(err)
	}
	return r.Seal(wire.TypeAck, msg)
}

// Exchange sends a sealed message as the workload.
func (r *Rig) Exchange(w *Workload, sealed []byte) (int, []byte) {
	r.T.Helper()
	return r.Do(r.Client(w.Identity()), "POST", "/v1/exchange", sealed, "")
}

// Revocation is what the server says of how far one has come.
type Revocation struct {
	Epoch         string    `json:"epoch"`
	What          []string  `json:"what"`
	At            time.Time `json:"at"`
	Told          time.Time `json:"told"`
	TakenBack     time.Time `json:"taken_back"`
	Done          bool      `json:"done"`
	Holders       int       `json:"holders"`
	Dark          int       `json:"dark"`
	Acknowledged  int       `json:"acknowledged"`
	UnknownBefore time.Time `json:"unknown_before"`
	Last          float64   `json:"last_seconds"`
	Latest        time.Time `json:"latest"`
	Lit           []struct {
		Client  string    `json:"client"`
		Mailbox string    `json:"mailbox"`
		Ends    time.Time `json:"ends"`
	} `json:"lit"`
}

// Revocation asks how far a revocation has come: see docs/api.md for the query.
func (r *Rig) Revocation(query string) Revocation {
	r.T.Helper()
	status, body := r.AsAdmin("GET", "/v1/admin/revocation?"+query, nil)
	var out Revocation
	if status != 200 || json.Unmarshal(body, &out) != nil {
		r.T.Fatalf("revocation: %d %s", status, body)
	}
	return out
}
