// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/bearer"
	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/tokenbook"
)

// route is what audit leaves know this door as.
const route = "vault"

// Routes are the token paths and the logins.
func (a *Auth) Routes() []call.Route {
	write := func(name, path string, h func(context.Context, *call.Call) (*call.Reply, error)) call.Route {
		return call.Route{Name: "auth-" + name, Op: call.Write, Path: "/auth/" + path, Handle: h}
	}
	open := func(name, path string, h func(context.Context, *call.Call) (*call.Reply, error)) call.Route {
		r := write(name, path, h)
		r.Open = true
		return r
	}
	return []call.Route{
		{Name: "auth-lookup-self", Op: call.Read, Path: "/auth/token/lookup-self", Handle: a.lookupSelf},
		write("lookup-self-too", "token/lookup-self", a.lookupSelf),
		write("lookup", "token/lookup", a.lookup),
		write("create", "token/create", a.create),
		write("renew-self", "token/renew-self", a.renewSelf),
		write("renew", "token/renew", a.renew),
		write("revoke-self", "token/revoke-self", a.revokeSelf),
		write("revoke", "token/revoke", a.revoke),
		open("approle-login", "approle/login", a.loginAppRole),
		open("jwt-login", "jwt/login", a.loginJWT),
		open("kubernetes-login", "kubernetes/login", a.loginKubernetes),
		open("cert-login", "cert/login", a.loginCert),
	}
}

// granted is what Vault says with a new or renewed token.
type granted struct {
	Text      string            `json:"client_token"`
	Accessor  string            `json:"accessor"`
	Policies  []string          `json:"policies"`
	Token     []string          `json:"token_policies"`
	Metadata  map[string]string `json:"metadata"`
	Lease     int64             `json:"lease_duration"`
	Renewable bool              `json:"renewable"`
	Entity    string            `json:"entity_id"`
	Type      string            `json:"token_type"`
	Orphan    bool              `json:"orphan"`
	MFA       any               `json:"mfa_requirement"`
	Uses      int               `json:"num_uses"`
}

// grant answers with a token that holds for so long from since on.
func (a *Auth) grant(t *Token, since time.Time, metadata map[string]string) *call.Reply {
	return &call.Reply{Secret: true, Auth: granted{
		Text: t.Text, Accessor: t.Made.ID.String(), Policies: t.Made.Policies, Token: t.Made.Policies, Metadata: metadata,
		Lease: int64(t.Made.Expires.Sub(since) / time.Second), Renewable: t.Made.Renewable(), Type: "service", Orphan: len(t.Made.Ancestors) == 0,
	}}
}

// issue makes a token, once the choke point has recorded it for its subject.
func (a *Auth) issue(ctx context.Context, want bearer.Token) (*Token, error) {
	issuers, err := a.issuers(ctx)
	if err != nil {
		return nil, err
	}
	if len(issuers) == 0 {
		return nil, call.Bad("this endpoint makes no tokens: it has no credential of use " + UseKey)
	}
	newest, now := issuers[len(issuers)-1], a.site.Clock.Now()
	text, made, err := newest.Make(want, now)
	if err != nil {
		return nil, call.Bad("no token can be made of this").Because(err)
	}
	proof, err := newest.Verify(text, now)
	if err != nil {
		return nil, err
	}
	caller, err := proof.Caller()
	if err != nil {
		return nil, err
	}
	if err := a.record(ctx, caller, tokenbook.Issue, made.ID, made.Expires); err != nil {
		return nil, err
	}
	return &Token{Made: made, Text: text, Caller: caller}, nil
}

// record has the choke point write down what becomes of a token.
func (a *Auth) record(ctx context.Context, caller *authn.Caller, action string, id bearer.ID, until time.Time) error {
	_, err := a.site.Do(ctx, caller, &keyserver.Token{Mark: tokenbook.Mark{Action: action, ID: id, Until: until}, Route: route})
	if action != tokenbook.Issue {
		a.forget()
	}
	return err
}

// said is what Vault says of a token.
type said struct {
	Accessor string            `json:"accessor"`
	Created  int64             `json:"creation_time"`
	TTL0     int64             `json:"creation_ttl"`
	Display  string            `json:"display_name"`
	Entity   string            `json:"entity_id"`
	Expires  *time.Time        `json:"expire_time"`
	Explicit int64             `json:"explicit_max_ttl"`
	ID       string            `json:"id"`
	Issued   *time.Time        `json:"issue_time,omitempty"`
	Meta     map[string]string `json:"meta"`
	Uses     int               `json:"num_uses"`
	Orphan   bool              `json:"orphan"`
	Path     string            `json:"path"`
	Policies []string          `json:"policies"`
	Renew    bool              `json:"renewable"`
	TTL      int64             `json:"ttl"`
	Type     string            `json:"type"`
}

func (a *Auth) tell(t *Token) *call.Reply {
	out := said{ID: t.Text, Type: "service", Orphan: true, Path: "auth/token/create", Policies: []string{"default"}}
	if t.Given != nil {
		out.Accessor, out.Display = t.Given.ID, "token-"+t.Given.Subject
		return &call.Reply{Data: out, Secret: true}
	}
	m := t.Made
	method, _, _ := strings.Cut(m.Login, ":")
	if out.Path = "auth/" + method + "/login"; len(m.Ancestors) > 0 || method == UseToken {
		out.Path = "auth/token/create"
	}
	out.Accessor, out.Display, out.Policies, out.Renew = m.ID.String(), strings.ReplaceAll(m.Name, ":", "-"), m.Policies, m.Renewable()
	out.Created, out.Issued, out.Expires = m.Issued.Unix(), &m.Issued, &m.Expires
	out.TTL0, out.TTL = int64(m.Expires.Sub(m.Issued)/time.Second), int64(m.Expires.Sub(a.site.Clock.Now())/time.Second)
	out.Orphan = len(m.Ancestors) == 0
	return &call.Reply{Data: out, Secret: true}
}

func own(c *call.Call) *Token { return c.Token.(*Token) }

func (a *Auth) lookupSelf(_ context.Context, c *call.Call) (*call.Reply, error) {
	if err := c.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	return a.tell(own(c)), nil
}

// other is the token that a body names, if the caller may do something with it: its
// own, one of its subject's, or one that came of it.
func (a *Auth) other(ctx context.Context, c *call.Call) (*Token, *asked, error) {
	var body asked
	if err := c.Decode(&body); err != nil {
		return nil, nil, err
	}
	if body.Token == "" {
		return nil, nil, call.Bad("missing token ID")
	}
	t, err := a.verify(ctx, body.Token)
	if errors.Is(err, authn.ErrRefused) || errors.Is(err, authn.ErrRevoked) {
		return nil, nil, call.Denied(errors.New("the token in the body is not one that holds"))
	}
	if err != nil {
		return nil, nil, err
	}
	mine := own(c)
	// Security: whoever can name a token has it, yet only its own subject, or who
	// made it, learns of it or ends it.
	if t.Caller.ID != c.Caller.ID && (mine.Made == nil || t.Made == nil || !slices.Contains(t.Made.Ancestors, mine.Made.ID)) {
		return nil, nil, call.Denied(errors.New("the token in the body is another's"))
	}
	return t, &body, nil
}

type asked struct {
	Token     string       `json:"token"`
	Increment call.Seconds `json:"increment"`
}

func (a *Auth) lookup(ctx context.Context, c *call.Call) (*call.Reply, error) {
	t, _, err := a.other(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.tell(t), nil
}

func (a *Auth) renewSelf(ctx context.Context, c *call.Call) (*call.Reply, error) {
	var body asked
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	return a.prolong(ctx, c, own(c), body.Increment)
}

func (a *Auth) renew(ctx context.Context, c *call.Call) (*call.Reply, error) {
	t, body, err := a.other(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.prolong(ctx, c, t, body.Increment)
}

// prolong lets a token end later: its text stays, the book says so.
func (a *Auth) prolong(ctx context.Context, c *call.Call, t *Token, increment call.Seconds) (*call.Reply, error) {
	if t.Made == nil || !t.Made.Renewable() {
		return nil, call.Bad("lease is not renewable")
	}
	m := *t.Made
	by := a.settings.ttl
	if increment.Value > 0 {
		by = min(increment.Value, longestTTL)
	}
	now := a.site.Clock.Now().Truncate(time.Second)
	if ends := now.Add(by); ends.After(m.Expires) {
		m.Expires = ends
	}
	if m.Expires.After(m.MaxExpires) {
		m.Expires = m.MaxExpires
	}
	if err := a.record(ctx, c.Caller, tokenbook.Renew, m.ID, m.Expires); err != nil {
		return nil, err
	}
	return a.grant(&Token{Made: &m, Text: t.Text, Caller: t.Caller}, now, nil), nil
}

func (a *Auth) revokeSelf(ctx context.Context, c *call.Call) (*call.Reply, error) {
	if err := c.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	return a.end(ctx, c, own(c))
}

func (a *Auth) revoke(ctx context.Context, c *call.Call) (*call.Reply, error) {
	t, _, err := a.other(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.end(ctx, c, t)
}

func (a *Auth) end(ctx context.Context, c *call.Call, t *Token) (*call.Reply, error) {
	if t.Made == nil {
		return nil, call.Bad("people take this token back: claviger endpoint set, or claviger revoke for its subject")
	}
	until := t.Made.Expires
	if t.Made.Renewable() {
		until = t.Made.MaxExpires
	}
	return nil, a.record(ctx, c.Caller, tokenbook.Revoke, t.Made.ID, until)
}

// child is what a new token may be asked to be.
type child struct {
	ID        string            `json:"id"`
	Policies  []string          `json:"policies"`
	Meta      map[string]string `json:"meta"`
	NoParent  call.Bool         `json:"no_parent"`
	NoDefault call.Bool         `json:"no_default_policy"`
	Renewable call.Bool         `json:"renewable"`
	TTL       call.Seconds      `json:"ttl"`
	Lease     call.Seconds      `json:"lease"`
	MaxTTL    call.Seconds      `json:"explicit_max_ttl"`
	Period    call.Seconds      `json:"period"`
	Display   string            `json:"display_name"`
	Uses      call.Int          `json:"num_uses"`
	Type      string            `json:"type"`
	Alias     string            `json:"entity_alias"`
}

func (n *child) refuse() error {
	switch {
	case n.ID != "":
		return call.Bad("root required to specify token id")
	case n.NoParent.Value:
		return call.Denied(errors.New("tokens without a parent come of a login"))
	case n.Period.Value > 0:
		return call.Bad("periodic tokens are not supported")
	case n.Uses.Value != 0:
		return call.Bad("num_uses is not supported: tokens are not counted")
	case n.Type != "" && n.Type != "service" && n.Type != "default":
		return call.Bad("only tokens of type service are supported")
	case n.Alias != "":
		return call.Bad("entity aliases are not supported")
	}
	return nil
}

// maxDepth is how many ancestors a token has at most.
const maxDepth = 8

// create makes a token of the same subject that ends with its parent at the latest.
func (a *Auth) create(ctx context.Context, c *call.Call) (*call.Reply, error) {
	var n child
	if err := c.Decode(&n); err != nil {
		return nil, err
	}
	if err := n.refuse(); err != nil {
		return nil, err
	}
	parent, now := own(c), a.site.Clock.Now()
	want := bearer.Token{Policies: []string{"default"}}
	last := now.Add(a.settings.maxTTL)
	if m := parent.Made; m != nil {
		if len(m.Ancestors) >= maxDepth {
			return nil, call.Badf("a token has at most %d ancestors", maxDepth)
		}
		want.Name, want.Attributes, want.Policies, want.Login = m.Name, m.Attributes, m.Policies, m.Login
		want.Ancestors = append(slices.Clone(m.Ancestors), m.ID)
		if last = m.Expires; m.Renewable() {
			last = m.MaxExpires
		}
	} else {
		want.Name, want.Login = UseToken+":"+parent.Given.Subject, login(UseToken, parent.Given.ID)
	}
	for _, p := range n.Policies {
		if !slices.Contains(want.Policies, p) {
			return nil, call.Bad("child policies must be subset of parent")
		}
	}
	if len(n.Policies) > 0 {
		want.Policies = n.Policies
	}
	ttl := a.settings.ttl
	for _, asked := range []call.Seconds{n.Lease, n.TTL} {
		if asked.Value > 0 {
			ttl = asked.Value
		}
	}
	if n.MaxTTL.Value > 0 && now.Add(n.MaxTTL.Value).Before(last) {
		last = now.Add(n.MaxTTL.Value)
	}
	want.Expires = earlier(now.Add(ttl), last)
	if !n.Renewable.Set || n.Renewable.Value {
		want.MaxExpires = last
	}
	t, err := a.issue(ctx, want)
	if err != nil {
		return nil, err
	}
	return a.grant(t, t.Made.Issued, nil), nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
