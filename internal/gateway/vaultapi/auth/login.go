// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"errors"
	"strings"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/bearer"
	"claviger/internal/authn/clientcert"
	"claviger/internal/authn/oidc"
	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/secret"
)

// admit makes the token of a login that is proved.
func (a *Auth) admit(ctx context.Context, roleName string, r role, want bearer.Token, proved time.Time) (*call.Reply, error) {
	now := a.site.Clock.Now()
	want.Policies = append([]string{"default"}, r.policies...)
	last := now.Add(r.maxTTL)
	if !proved.IsZero() {
		last = earlier(last, proved)
	}
	want.Expires, want.MaxExpires = earlier(now.Add(r.ttl), last), last
	t, err := a.issue(ctx, want)
	if err != nil {
		return nil, err
	}
	return a.grant(t, t.Made.Issued, map[string]string{"role": roleName}), nil
}

// roleOf finds a role of a method; the only one there is where none is named.
func (a *Auth) roleOf(method, name string) (string, role, error) {
	if name == "" {
		for n, r := range a.settings.roles {
			if r.method == method {
				if name != "" {
					return "", role{}, call.Bad("missing role")
				}
				name = n
			}
		}
	}
	r, ok := a.settings.roles[name]
	if !ok || r.method != method {
		return "", role{}, call.Bad("role could not be found")
	}
	return name, r, nil
}

// refusedLogin is Vault's word for a login that proves nothing; what isn't about the
// login stays as it is.
func refusedLogin(text string, err error) error {
	if errors.Is(err, authn.ErrRefused) {
		return call.Bad(text).Because(err)
	}
	return err
}

func (a *Auth) loginAppRole(ctx context.Context, c *call.Call) (*call.Reply, error) {
	var body struct {
		Role   string `json:"role_id"`
		Secret string `json:"secret_id"`
	}
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	if body.Role == "" {
		return nil, call.Bad("missing role_id")
	}
	if body.Secret == "" {
		return nil, call.Bad("missing secret_id")
	}
	shown := secret.Take([]byte(body.Secret))
	defer shown.Wipe()
	caller, err := bearer.Check(ctx, a.at, a.shared(UseAppRole), body.Role, shown)
	if err != nil {
		return nil, refusedLogin("invalid role or secret ID", err)
	}
	subject := strings.TrimPrefix(caller.ID, a.at.Name+":")
	name := strings.TrimPrefix(subject, UseAppRole+":")
	r, ok := a.settings.roles[name]
	if !ok {
		r = role{ttl: a.settings.ttl, maxTTL: a.settings.maxTTL}
	}
	return a.admit(ctx, name, r, bearer.Token{Name: subject, Login: login(UseAppRole, body.Role)}, time.Time{})
}

// jwt is the body of both logins with a token of an issuer's.
type jwt struct {
	Role string `json:"role"`
	JWT  string `json:"jwt"`
}

// judge finds the role and verifies the token of a login.
func (a *Auth) judge(ctx context.Context, c *call.Call, use string) (string, role, *oidc.Claims, error) {
	var body jwt
	if err := c.Decode(&body); err != nil {
		return "", role{}, nil, err
	}
	if body.JWT == "" {
		return "", role{}, nil, call.Bad("missing token")
	}
	name, r, err := a.roleOf(use, body.Role)
	if err != nil {
		return "", r, nil, err
	}
	proof, err := a.jwt.Verify(ctx, use, body.JWT)
	if err != nil {
		return "", r, nil, refusedLogin("error validating token", err)
	}
	return name, r, proof.Claims(), nil
}

// attributesOf are what a token proves of its subject.
func attributesOf(c *oidc.Claims) map[string]string {
	out := map[string]string{"issuer": c.Issuer}
	if c.Subject != "" {
		out["subject"] = c.Subject
	}
	if c.EmailVerified {
		out["email"] = c.Email
	}
	return out
}

var errBound = errors.New("the claims are not those that the role is bound to")

func (a *Auth) loginJWT(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, r, claims, err := a.judge(ctx, c, methodJWT)
	if err != nil {
		return nil, err
	}
	if claims.Subject == "" {
		return nil, call.Bad("error validating token: it has no subject")
	}
	if !r.admits(func(claim string) []string { list, _ := claims.Strings(claim); return list }) {
		return nil, call.Bad("error validating claims").Because(errBound)
	}
	return a.admit(ctx, name, r, bearer.Token{Name: methodJWT + ":" + claims.Subject, Attributes: attributesOf(claims), Login: login(methodJWT, name)}, time.Time{})
}

func (a *Auth) loginKubernetes(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, r, claims, err := a.judge(ctx, c, methodKubernetes)
	if err != nil {
		return nil, err
	}
	account, ok := strings.CutPrefix(claims.Subject, "system:serviceaccount:")
	namespace, account, both := strings.Cut(account, ":")
	if !ok || !both || namespace == "" || account == "" || strings.ContainsAny(account, ":/") || strings.Contains(namespace, "/") {
		return nil, call.Bad("error validating token: it is of no service account")
	}
	bound := func(claim string) []string {
		switch claim {
		case "namespace":
			return []string{namespace}
		case "service-account":
			return []string{account}
		}
		list, _ := claims.Strings(claim)
		return list
	}
	if !r.admits(bound) {
		return nil, call.Denied(errBound)
	}
	want := bearer.Token{Name: methodKubernetes + ":" + namespace + "/" + account, Attributes: attributesOf(claims), Login: login(methodKubernetes, name)}
	return a.admit(ctx, name, r, want, time.Time{})
}

// loginCert is of the certificate that the client showed in the handshake.
func (a *Auth) loginCert(ctx context.Context, c *call.Call) (*call.Reply, error) {
	var body struct {
		Name string `json:"name"`
	}
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	caller, err := clientcert.Caller(a.at.Name, a.at.Kind, c.TLS, a.site.Clock.Now())
	if err != nil {
		return nil, refusedLogin("invalid certificate or no client certificate supplied", err)
	}
	name, r, err := a.roleOf(methodCert, body.Name)
	if err != nil {
		return nil, err
	}
	hash, _ := caller.Attributes["certificate"].(string)
	if hash == "" || !r.admits(func(claim string) []string {
		if claim == "certificate" {
			return []string{hash}
		}
		return nil
	}) {
		return nil, call.Bad("invalid certificate or no client certificate supplied").Because(errBound)
	}
	want := bearer.Token{Name: methodCert + ":" + hash, Attributes: map[string]string{"certificate": hash}, Login: login(methodCert, name)}
	return a.admit(ctx, name, r, want, caller.NotAfter)
}
