// SPDX-License-Identifier: Apache-2.0

package bearer

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"claviger/internal/authn"
	"claviger/internal/kdf"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Bounds and form of a token.
const (
	Prefix   = "cvt."
	MaxToken = 8 << 10 // bytes of its text
	macSize  = 32
	shape    = 1
	maxList  = 32  // policies, ancestors, attributes
	maxText  = 512 // bytes of a text, but for attributes
)

// ID names a token for revocation. It opens nothing.
type ID [16]byte

// String gives the id in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Token is what a token says.
type Token struct {
	ID         ID                // made by Make
	Ancestors  []ID              // tokens with which this one was made, the first login's first: revoked with any of them
	Name       string            // of the subject within the endpoint
	Attributes map[string]string // of the subject, as authn.SubjectAttributes names them
	Policies   []string          // the door's own: what it shows, or narrows
	Login      string            // the door's own: how the holder came to it
	Issued     time.Time         // whole seconds; made by Make
	Expires    time.Time         // likewise
	MaxExpires time.Time         // until when it may be renewed; zero: it may not
}

// Renewable reports whether another token with a later end may be made of it.
func (t *Token) Renewable() bool { return !t.MaxExpires.IsZero() }

// payload is the form of a token under the MAC. Times are Unix seconds.
type payload struct {
	_          struct{} `cbor:",toarray"`
	Shape      uint64
	ID         [16]byte
	Ancestors  [][16]byte
	Name       string
	Attributes []pair
	Policies   []string
	Login      string
	Issued     int64
	Expires    int64
	MaxExpires int64 // 0: none
}

type pair struct {
	_           struct{} `cbor:",toarray"`
	Name, Value string
}

// Endpoint is where tokens hold.
type Endpoint struct {
	Domain wire.DomainID
	Name   string
	Kind   string
}

// Issuer makes and verifies the tokens of one endpoint. It is safe for concurrent
// use.
type Issuer struct {
	at  Endpoint
	mac *secret.HMAC
}

// New returns the issuer of an endpoint. Key is 32 random or derived bytes, which
// the caller keeps; every server of the domain that has the same makes and takes
// the same tokens.
func New(key *secret.Bytes, at Endpoint) *Issuer {
	own := kdf.Expand(key, at.Domain, "bearer", []byte(at.Name), []byte(at.Kind))
	defer own.Wipe()
	return &Issuer{at: at, mac: secret.NewHMAC(own)}
}

// Make makes a token of what t says, with a new id, from now on. It returns the
// text, which is secret, and what was made.
func (i *Issuer) Make(t Token, now time.Time) (string, *Token, error) {
	rand.Read(t.ID[:])
	t.Issued = now.Truncate(time.Second)
	p := payload{
		Shape: shape, ID: t.ID, Name: t.Name, Policies: slices.Clone(t.Policies), Login: t.Login,
		Issued: t.Issued.Unix(), Expires: t.Expires.Unix(),
	}
	if !t.MaxExpires.IsZero() {
		p.MaxExpires = t.MaxExpires.Unix()
	}
	for _, a := range t.Ancestors {
		p.Ancestors = append(p.Ancestors, a)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Attributes)) {
		p.Attributes = append(p.Attributes, pair{Name: name, Value: t.Attributes[name]})
	}
	made, err := p.token()
	if err == nil {
		err = i.claims(made).Check()
	}
	if err != nil {
		return "", nil, fmt.Errorf("make a token: %w", err)
	}
	data := wire.Marshal(&p)
	sum := i.mac.Sum(data)
	text := Prefix + base64.RawURLEncoding.EncodeToString(append(data, sum[:macSize]...))
	if len(text) > MaxToken {
		return "", nil, refused("a token of this size")
	}
	return text, made, nil
}

// token checks a payload and returns what it says.
func (p *payload) token() (*Token, error) {
	switch {
	case p.Shape != shape || p.Issued <= 0 || p.Expires <= p.Issued || p.Expires > wire.MaxTime/1000:
		return nil, refused("a token of another version, or with impossible times")
	case p.MaxExpires != 0 && (p.MaxExpires < p.Expires || p.MaxExpires > wire.MaxTime/1000):
		return nil, refused("a token that lives longer than it may")
	case len(p.Ancestors) > maxList || len(p.Policies) > maxList || len(p.Attributes) > maxList || len(p.Login) > maxText:
		return nil, refused("a token that says too much")
	}
	t := &Token{
		ID: p.ID, Name: p.Name, Policies: p.Policies, Login: p.Login,
		Issued: time.Unix(p.Issued, 0).UTC(), Expires: time.Unix(p.Expires, 0).UTC(),
	}
	if p.MaxExpires != 0 {
		t.MaxExpires = time.Unix(p.MaxExpires, 0).UTC()
	}
	for _, a := range p.Ancestors {
		t.Ancestors = append(t.Ancestors, a)
	}
	if len(p.Attributes) > 0 {
		t.Attributes = make(map[string]string, len(p.Attributes))
	}
	for i, a := range p.Attributes {
		if i > 0 && a.Name <= p.Attributes[i-1].Name {
			return nil, refused("a token whose attributes are not in order")
		}
		t.Attributes[a.Name] = a.Value
	}
	return t, nil
}

func (i *Issuer) claims(t *Token) authn.SubjectClaims {
	c := authn.SubjectClaims{
		Endpoint: i.at.Name, EndpointKind: i.at.Kind, Name: t.Name, Key: wire.Sum("bearer", t.ID[:]), NotAfter: t.Expires,
	}
	if len(t.Attributes) > 0 {
		c.Attributes = make(map[string]any, len(t.Attributes))
		for name, value := range t.Attributes {
			c.Attributes[name] = value
		}
	}
	return c
}

// Proof is that a token was shown which this domain's servers made for an endpoint.
type Proof struct {
	token  *Token
	claims authn.SubjectClaims
}

// Token is what the token says. Ask whether its ID or one of its Ancestors is
// revoked before anything is done for it.
func (p Proof) Token() *Token { return p.token }

// Caller is the token's subject.
func (p Proof) Caller() (*authn.Caller, error) {
	if p.token == nil {
		return nil, refused("nothing was verified")
	}
	if err := p.claims.Check(); err != nil {
		return nil, err
	}
	return authn.SubjectCaller(p.claims), nil
}

// Verify reads a token that holds at this time.
func (i *Issuer) Verify(text string, now time.Time) (Proof, error) {
	return i.VerifyRenewed(text, now, func(*Token) (time.Time, error) { return time.Time{}, nil })
}

// VerifyRenewed is Verify where a door keeps until when tokens were renewed: until
// says so of a token whose MAC held. Whatever it says, a token ends when it may not
// be renewed any more. An error of until is returned as it is.
func (i *Issuer) VerifyRenewed(text string, now time.Time, until func(*Token) (time.Time, error)) (Proof, error) {
	t, err := i.read(text)
	if err != nil {
		return Proof{}, err
	}
	renewed, err := until(t)
	if err != nil {
		return Proof{}, err
	}
	if t.Renewable() && renewed.After(t.Expires) {
		t.Expires = renewed
		if renewed.After(t.MaxExpires) {
			t.Expires = t.MaxExpires
		}
	}
	if !now.Before(t.Expires) || now.Before(t.Issued.Add(-leeway)) {
		return Proof{}, refused("the token has ended, or is not valid yet")
	}
	return Proof{t, i.claims(t)}, nil
}

// read takes a token apart once its MAC held.
func (i *Issuer) read(text string) (*Token, error) {
	encoded, ok := strings.CutPrefix(text, Prefix)
	if !ok || len(text) > MaxToken {
		return nil, refused("no token of ours")
	}
	data, err := decode(encoded)
	if err != nil || len(data) <= macSize {
		return nil, refused("no token of ours")
	}
	body, mac := data[:len(data)-macSize], data[len(data)-macSize:]
	sum := i.mac.Sum(body)
	// Security: nothing of a token is read before its MAC held, in constant time
	// (T-77).
	if subtle.ConstantTimeCompare(sum[:macSize], mac) != 1 {
		return nil, refused("no token of ours")
	}
	var p payload
	if err := wire.Unmarshal(body, &p, MaxToken); err != nil {
		return nil, fmt.Errorf("%w: %w", authn.ErrRefused, err)
	}
	return p.token()
}

// decode reads base 64 that is written in one way only. The standard library skips
// line ends.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// leeway is how far behind another server's clock this one's may be.
const leeway = time.Minute

func refused(why string) error { return fmt.Errorf("%w: %s", authn.ErrRefused, why) }
