// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"slices"
	"time"

	"claviger/internal/kdf"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// requestLife is how far ahead a request's NotAfter lies. It stays below
// wire.MaxRequestLife by what the guess of the server's time may be off.
const requestLife = 45 * time.Second

// Identity is who asks.
type Identity struct {
	Client string   // SPIFFE id
	Chain  [][]byte // certificates in DER, leaf first
	Key    crypto.Signer
}

// Asked is a request on its way, and all that its answer is held against.
type Asked struct {
	Sealed []byte
	// Since is the epoch believed when the request was made.
	Since wire.Epoch

	peer   *Peer
	client string
	pad    wire.Padding
	items  []wire.Item
	hpke   *wire.Key
	hash   wire.Hash // SealedHash
	sent   moment
}

// Question is what to ask for.
type Question struct {
	Items     []wire.Item // 1 to wire.MaxItems
	Reason    string
	Evidence  []byte
	Statement []byte    // the newest signed statement, empty without
	Mailbox   wire.Hash // of the asker's run; zero without
	// Standing are public halves of further one-time keys, for releases ahead of need;
	// empty without. StandFor is how long the request is to stand.
	Standing [][]byte
	StandFor time.Duration
	// TimeHint is the Unix time in milliseconds to address the request with;
	// zero means the View's own guess.
	TimeHint int64
}

// Ask makes, signs and seals a request to p.
func (v *View) Ask(p *Peer, id Identity, q Question) (*Asked, error) {
	a := v.newAsked(p, id.Client)
	a.items = q.Items
	req := wire.Request{
		Type: wire.TypeRequest, Domain: v.domain, Client: id.Client, HPKE: a.hpke.Public(), Items: q.Items,
		Descriptor: p.Hash, Statement: q.Statement, NotAfter: v.notAfter(p, q.TimeHint), Reason: q.Reason, Evidence: q.Evidence,
		Mailbox: q.Mailbox, Standing: q.Standing,
	}
	if len(q.Standing) > 0 {
		req.Until = v.until(p, q.StandFor)
	}
	rand.Read(req.Nonce[:])
	payload := wire.Marshal(req)
	if _, err := wire.ParseRequest(payload); err != nil {
		return nil, fmt.Errorf("ask for keys: %w", err)
	}
	signed, err := wire.SignChain(wire.TypeRequest, payload, id.Chain, id.Key)
	if err != nil {
		return nil, err
	}
	return a, a.seal(wire.TypeRequest, signed)
}

func (v *View) newAsked(p *Peer, client string) *Asked {
	v.mu.Lock()
	defer v.mu.Unlock()
	return &Asked{Since: v.mark.Epoch, peer: p, client: client, pad: v.pad, hpke: wire.NewKey(), sent: v.moment()}
}

func (v *View) notAfter(p *Peer, hint int64) int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	// What we know of its clock is worth less: it may have been set right since.
	if hint == 0 {
		hint = v.estimate(p.Server)
	}
	return min(hint+requestLife.Milliseconds(), wire.MaxTime)
}

// until is when a standing request ends by a server's clock.
func (v *View) until(p *Peer, life time.Duration) int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return min(v.estimate(p.Server)+life.Milliseconds(), wire.MaxTime)
}

// Asked is how long ago, at most, a request was made.
func (v *View) Asked(a *Asked) time.Duration { return v.since(a.sent) }

// Hash is that of the sealed request, which grants name.
func (a *Asked) Hash() wire.Hash { return a.hash }

// Lasts reports whether a message may be sent again: servers take it for a while.
func (v *View) Lasts(a *Asked) bool { return v.since(a.sent) < requestLife*2/3 }

func (a *Asked) seal(typ string, signed []byte) error {
	sealed, err := a.pad.Seal(a.peer.Descriptor.HPKE, typ, a.peer.Hash, signed)
	if err != nil {
		return err
	}
	a.Sealed, a.hash = sealed, wire.SealedHash(sealed)
	return nil
}

// Item is one believed answer to one item of a request.
type Item struct {
	wire.GrantItem
	Key *secret.Bytes // the leaf key, 32 bytes; nil if denied
}

// Answer is a release that was believed.
type Answer struct {
	Items  []Item
	Grant  []byte // the signed grant: the receipt
	Epoch  wire.Epoch
	Head   wire.Hash
	Server wire.ServerID
	// SendToken opens servers' mailboxes at relays from now on; empty if the server
	// gave none. Nobody signed it: it keeps strangers out and no more.
	SendToken []byte
	// Ahead says that nobody asked for it at that moment: it is no news, and only
	// that of others makes it count.
	Ahead bool

	heard heard // when it was signed, at the latest
}

// Wipe forgets the keys that nobody has taken.
func (a *Answer) Wipe() {
	for _, item := range a.Items {
		item.Key.Wipe()
	}
}

// Elapsed is how long ago, at most, the answer was signed.
func (v *View) Elapsed(a *Answer) time.Duration { return v.age(a.heard) }

// Generation is the log's present generation; leases end with theirs.
func (v *View) Generation() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state.Generation
}

// Answer opens a release and believes it only if everything in it answers a. With
// ErrMembers, introduce the server and call again.
func (v *View) Answer(a *Asked, message []byte) (*Answer, error) {
	plain, err := a.hpke.Open(wire.TypeRelease, wire.ReleaseInfo(a.hash), message, wire.MaxRelease+2<<10)
	if err != nil {
		return nil, fmt.Errorf("%w: release: %w", ErrIntegrity, err)
	}
	defer secret.Wipe(plain)
	release, err := wire.ParseRelease(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: release: %w", ErrIntegrity, err)
	}
	defer wipeAll(release.Keys)
	v.mu.Lock()
	defer v.mu.Unlock()
	grant, err := v.grant(a, a.peer.Server, wire.HPKEHash(a.hpke.Public()), release.Grant)
	if err != nil {
		return nil, err
	}
	out := &Answer{
		Grant: release.Grant, Epoch: grant.Epoch, Head: grant.Head, Server: grant.Server, SendToken: release.SendToken, heard: heard{epoch: grant.Epoch, head: grant.Head, at: a.sent},
	}
	if err := v.take(a, grant, release.Keys, out); err != nil {
		out.Wipe()
		return nil, err
	}
	w := word{grant.Epoch, grant.Head, grant.Members, release.Grant, wire.TypeGrant}
	if err := v.believe(w, a, grant.Issued); err != nil {
		out.Wipe()
		return nil, err
	}
	return out, nil
}

// believe takes over what a verified answer to a says of the domain's state, and
// when it was signed. The caller holds v.mu.
func (v *View) believe(w word, a *Asked, issued int64) error {
	if err := v.checkWord(w, a.Since); err != nil {
		return err
	}
	if err := v.advance(w); err != nil {
		return err
	}
	v.anchors[a.peer.Server] = anchor{issued: issued, sent: a.sent}
	v.answered = v.fresher(v.answered, heard{epoch: w.epoch, head: w.head, at: a.sent})
	return nil
}

func wipeAll(keys [][]byte) {
	for _, k := range keys {
		secret.Wipe(k)
	}
}

// grant verifies a server's signed grant, sealed to a one-time key, and the fields
// that name the request as a whole.
func (v *View) grant(a *Asked, server wire.ServerID, hpke wire.Hash, signed []byte) (*wire.Grant, error) {
	// Security: the member chain may have moved since the request was sealed; a
	// server that was fenced meanwhile is not believed (T-33).
	key, err := v.state.ServerKey(server)
	if err != nil {
		return nil, fmt.Errorf("%w: grant: %w", ErrIntegrity, err)
	}
	g, err := wire.ParseGrant(signed, key)
	if err != nil {
		return nil, fmt.Errorf("%w: grant: %w", ErrIntegrity, err)
	}
	switch {
	case g.Domain != v.domain:
		return nil, integrity("grant of another domain")
	case g.Server != server:
		return nil, integrity("grant names another server")
	case g.Client != a.client:
		return nil, integrity("grant is for another client")
	case g.HPKE != hpke:
		return nil, integrity("grant is for another one-time key")
	case g.Request != a.hash:
		return nil, integrity("grant answers another request")
	case len(g.Items) != len(a.items):
		return nil, integrity("grant has %d items for %d", len(g.Items), len(a.items))
	}
	return g, nil
}

// take checks the items one by one and moves their keys into out.
func (v *View) take(a *Asked, g *wire.Grant, keys [][]byte, out *Answer) error {
	if len(keys) != len(g.Items) {
		return integrity("release has %d keys for %d items", len(keys), len(g.Items))
	}
	for i, item := range g.Items {
		if err := answers(a.items[i], item); err != nil {
			return err
		}
		if item.Decision == wire.DecisionDenied {
			if len(keys[i]) != 0 {
				return integrity("a denied item has a key")
			}
			out.Items = append(out.Items, Item{GrantItem: item})
			continue
		}
		if len(keys[i]) != kdf.KeySize {
			return integrity("a key of %d bytes", len(keys[i]))
		}
		key := secret.Take(keys[i])
		out.Items = append(out.Items, Item{GrantItem: item, Key: key})
		commit := kdf.Commit(key, v.domain)
		// Security: the server signs the commitment and the audit log keeps it, so
		// two clients can't be given two keys under one name unseen (T-10).
		if subtle.ConstantTimeCompare(commit[:], item.KC) != 1 {
			return integrity("the key is not the one that the grant commits to")
		}
	}
	return nil
}

// answers reports whether a grant's item is about what was asked, and nothing
// else.
func answers(asked wire.Item, got wire.GrantItem) error {
	allowed := got.Decision == wire.DecisionAllowed
	switch {
	case asked.Name != "" && got.Name != asked.Name:
		return integrity("the key's name is another one")
	case len(asked.ID) > 0 && !bytes.Equal(got.KeyID[:], asked.ID):
		return integrity("the key's id is another one")
	case asked.Version != 0 && got.Version != asked.Version:
		return integrity("the key's version is another one")
	case got.Purpose != asked.Purpose:
		return integrity("the key's purpose is another one")
	case !bytes.Equal(got.Partition, asked.Partition):
		return integrity("the key's partition is another one")
	case !slices.Equal(got.Operations, asked.Operations):
		return integrity("the operations are others")
	case allowed && (got.Version == 0 || got.KeyID == wire.KeyID{} || !wire.ValidKeyName(got.Name)):
		return integrity("a released key has no name, id or version")
	case allowed && !slices.Contains([]string{wire.StateActive, wire.StateDeactivated, wire.StateCompromised}, got.State):
		return integrity("a released version is in no state to be used")
	}
	return nil
}
