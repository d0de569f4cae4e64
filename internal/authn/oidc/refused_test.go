// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/clock"
)

// TestClaimsRefused: one claim of a good token is another.
func TestClaimsRefused(t *testing.T) {
	p := newProvider(t)
	v := New(Options{Clock: clock.NewManual(began()), Issuers: []Issuer{
		{URL: p.URL, Audience: "claviger", Use: "login"}, {URL: p.URL, Audience: "", Use: "open"}, {URL: p.URL, Audience: "other", Use: "other"},
	}})
	at := func(d time.Duration) int64 { return began().Add(d).Unix() }
	for name, change := range map[string]map[string]any{
		"ended":                   {"exp": at(-61 * time.Second)},
		"no end":                  {"exp": nil},
		"an end that is a text":   {"exp": fmt.Sprint(at(time.Hour))},
		"an end that never comes": {"exp": 1e15},
		"an end before 1970":      {"exp": -1},
		"not yet valid":           {"nbf": at(61 * time.Second)},
		"issued in the future":    {"iat": at(61 * time.Second)},
		"another issuer":          {"iss": p.URL + "/"},
		"no issuer":               {"iss": nil},
		"an issuer in a list":     {"iss": []string{p.URL}},
		"another audience":        {"aud": "claviger2"},
		"audience in other case":  {"aud": "Claviger"},
		"no audience":             {"aud": nil},
		"an empty audience":       {"aud": ""},
		"an empty list":           {"aud": []string{}},
		"audience of the other":   {"aud": "other"},
		"an audience in numbers":  {"aud": []any{1, "claviger"}},
		"a null among them":       {"aud": []any{nil, "claviger"}},
		"too many audiences":      {"aud": append(make([]string, maxAudiences), "claviger")},
		"a subject in numbers":    {"sub": 5},
		"a null subject":          {"sub": json.RawMessage("null")},
		"an email in numbers":     {"email": 5},
	} {
		text := p.sign(t, es256, "ec", without(p.claims(), change))
		if proof, err := v.Verify(t.Context(), "login", text); !errors.Is(err, authn.ErrRefused) || proof.Claims() != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := p.sign(t, es256, "ec", p.claims())
	for _, use := range []string{"open", "other", "", "login2"} {
		if _, err := v.Verify(t.Context(), use, good); !errors.Is(err, authn.ErrRefused) {
			t.Errorf("for the use %q: %v", use, err)
		}
	}
	for name, change := range map[string]map[string]any{
		"just ended":       {"exp": at(-59 * time.Second)},
		"just not valid":   {"nbf": at(59 * time.Second), "iat": at(59 * time.Second)},
		"fractions":        {"exp": json.RawMessage(fmt.Sprint(at(time.Hour)) + ".25")},
		"no subject":       {"sub": nil},
		"nothing optional": {"sub": nil, "iat": nil, "email": nil, "email_verified": nil},
	} {
		if _, err := v.Verify(t.Context(), "login", p.sign(t, es256, "ec", without(p.claims(), change))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// raw signs a header and claims as they are.
func raw(t *testing.T, key crypto.Signer, header, claims string) string {
	t.Helper()
	signed := b64(header) + "." + b64(claims)
	sum := sha256.Sum256([]byte(signed))
	var signature []byte
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case *rsa.PrivateKey:
		var err error
		if signature, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:]); err != nil {
			t.Fatal(err)
		}
	case ed25519.PrivateKey:
		signature = ed25519.Sign(k, []byte(signed))
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// TestTokenRefused: every attack on the form of a token and on what it says of its
// signature.
func TestTokenRefused(t *testing.T) {
	p := newProvider(t)
	v := p.verifier(clock.NewManual(began()))
	ec, ed := p.keys["ec"], p.keys["ed"]
	data, _ := json.Marshal(p.claims())
	claims := string(data)
	header := func(more string) string { return `{"alg":"ES256","kid":"ec"` + more + `}` }
	good := raw(t, ec, header(""), claims)
	if _, err := v.Verify(t.Context(), "login", good); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	signedBy := func(mac []byte, alg, kid string) string {
		signed := b64(`{"alg":"`+alg+`","kid":"`+kid+`"}`) + "." + b64(claims)
		h := hmac.New(sha256.New, mac)
		h.Write([]byte(signed))
		return signed + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}
	spki, _ := x509.MarshalPKIXPublicKey(rsaKey().Public())
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	point, _ := other.PublicKey.Bytes()
	jwk := `{"kty":"EC","crv":"P-256","x":"` + base64.RawURLEncoding.EncodeToString(point[1:33]) + `","y":"` + base64.RawURLEncoding.EncodeToString(point[33:]) + `"}`
	asn1, _ := ecdsa.SignASN1(rand.Reader, ec.(*ecdsa.PrivateKey), make([]byte, 32))
	for name, text := range map[string]string{
		"nothing":                           "",
		"two parts":                         parts[0] + "." + parts[1],
		"four parts":                        good + ".AAAA",
		"five parts":                        good + ".AAAA.AAAA",
		"no signature":                      parts[0] + "." + parts[1] + ".",
		"a changed signature":               parts[0] + "." + parts[1] + "." + strings.Replace(parts[2], parts[2][:1], "_", 1) + "x",
		"padding":                           good + "=",
		"a line end":                        good + "\n",
		"a blank":                           " " + good,
		"standard base 64":                  strings.ReplaceAll(strings.ReplaceAll(good, "-", "+"), "_", "/") + "+",
		"other claims":                      parts[0] + "." + b64(strings.Replace(claims, "alice", "admin", 1)) + "." + parts[2],
		"other spelling":                    parts[0] + "." + b64(claims+" ") + "." + parts[2],
		"too long":                          raw(t, ec, header(`,"x":"`+strings.Repeat("x", MaxToken)+`"`), claims),
		"alg none":                          b64(`{"alg":"none","kid":"ec"}`) + "." + b64(claims) + ".",
		"alg None":                          b64(`{"alg":"None","kid":"ec"}`) + "." + b64(claims) + "." + parts[2],
		"no alg":                            raw(t, ec, `{"kid":"ec"}`, claims),
		"alg in a list":                     raw(t, ec, `{"alg":["ES256"],"kid":"ec"}`, claims),
		"alg in lower case":                 raw(t, ec, `{"alg":"es256","kid":"ec"}`, claims),
		"ALG":                               raw(t, ec, `{"ALG":"ES256","kid":"ec"}`, claims),
		"HMAC under the public key, DER":    signedBy(spki, "HS256", "rsa"),
		"HMAC under the public key, PEM":    signedBy(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}), "HS256", "rsa"),
		"HMAC under its modulus":            signedBy(rsaKey().N.Bytes(), "RS256", "rsa"),
		"an RSA signature under an EC key":  raw(t, rsaKey(), `{"alg":"RS256","kid":"ec"}`, claims),
		"an EC signature under an RSA key":  raw(t, ec, `{"alg":"ES256","kid":"rsa"}`, claims),
		"an Ed25519 signature called ES256": raw(t, ed, `{"alg":"ES256","kid":"ed"}`, claims),
		"an ES256 signature called EdDSA":   raw(t, ec, `{"alg":"EdDSA","kid":"ec"}`, claims),
		"PKCS #1 called PSS":                raw(t, rsaKey(), `{"alg":"PS256","kid":"rsa"}`, claims),
		"ES384":                             raw(t, ec, `{"alg":"ES384","kid":"ec"}`, claims),
		"a signature in ASN.1":              parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(asn1),
		"a signature of zeros":              parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
		"another's signature":               raw(t, other, header(""), claims),
		"a key of its own":                  raw(t, other, header(`,"jwk":`+jwk), claims),
		"a key from elsewhere":              raw(t, other, header(`,"jku":"https://evil.example/jwks"`), claims),
		"an unknown key":                    raw(t, ec, `{"alg":"ES256","kid":"ec2"}`, claims),
		"no key":                            raw(t, ec, `{"alg":"ES256"}`, claims),
		"an empty key id":                   raw(t, ec, `{"alg":"ES256","kid":""}`, claims),
		"a null key id":                     raw(t, ec, `{"alg":"ES256","kid":null}`, claims),
		"KID":                               raw(t, ec, `{"alg":"ES256","KID":"ec"}`, claims),
		"an extension":                      raw(t, ec, header(`,"crit":["b64"],"b64":false`), claims),
		"a null extension":                  raw(t, ec, header(`,"crit":null`), claims),
		"another kind":                      raw(t, ec, header(`,"typ":"JOSE"`), claims),
		"a logout token":                    raw(t, ec, header(`,"typ":"logout+jwt"`), claims),
		"a member of the header twice":      raw(t, ec, header(`,"alg":"ES256"`), claims),
		"twice in another case":             raw(t, ec, header(`,"Alg":"ES256"`), claims),
		"a claim twice":                     raw(t, ec, header(""), strings.Replace(claims, "{", `{"sub":"admin",`, 1)),
		"a claim twice in another case":     raw(t, ec, header(""), strings.Replace(claims, "{", `{"Sub":"admin",`, 1)),
		"claims in another case":            raw(t, ec, header(""), strings.Replace(claims, `"exp"`, `"EXP"`, 1)),
		"a list for a header":               raw(t, ec, `["ES256"]`, claims),
		"a list for claims":                 raw(t, ec, header(""), "["+claims+"]"),
		"claims and more":                   raw(t, ec, header(""), claims+claims),
		"a deep header":                     raw(t, ec, header(`,"x":`+strings.Repeat("[", 3000)+strings.Repeat("]", 3000)), claims),
		"no UTF-8":                          raw(t, ec, header(""), strings.Replace(claims, "alice", "ali\xffce", 1)),
	} {
		proof, err := v.Verify(t.Context(), "login", text)
		if !errors.Is(err, authn.ErrRefused) || proof.Claims() != nil {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "alice") {
			t.Errorf("%s: the error tells of the token: %v", name, err)
		}
	}
}

// TestSubjectInAnotherCase: a claim of another spelling is another claim.
func TestSubjectInAnotherCase(t *testing.T) {
	p := newProvider(t)
	proof, err := p.verifier(clock.NewManual(began())).Verify(t.Context(), "login", p.sign(t, es256, "ec", without(p.claims(), map[string]any{
		"sub": nil, "SUB": "admin", "email": nil, "Email": "admin@acme.example", "email_verified": nil, "EMAIL_VERIFIED": true,
	})))
	if err != nil {
		t.Fatal(err)
	}
	if c := proof.Claims(); c.Subject != "" || c.Email != "" || c.EmailVerified {
		t.Errorf("%+v", c)
	}
}

// TestKeyRefused: keys that are not for this are not in the set, and a set without
// others is an error.
func TestKeyRefused(t *testing.T) {
	p := newProvider(t)
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	json.Unmarshal(p.set(), &set)
	byKind := map[string]map[string]any{}
	for _, k := range set.Keys {
		byKind[k["kty"].(string)] = k
	}
	big512 := base64.RawURLEncoding.EncodeToString(append([]byte{1}, make([]byte, 64)...))
	weak := base64.RawURLEncoding.EncodeToString(append(rsaKey().N.Bytes()[:255], 1)[1:])
	huge := base64.RawURLEncoding.EncodeToString(append(rsaKey().N.Bytes(), make([]byte, 1024)...))
	for name, c := range map[string]struct {
		kind   string
		change map[string]any
	}{
		"for encryption":         {"RSA", map[string]any{"use": "enc"}},
		"to sign":                {"EC", map[string]any{"key_ops": []string{"sign"}}},
		"operations in numbers":  {"EC", map[string]any{"key_ops": 5}},
		"without an id":          {"EC", map[string]any{"kid": nil}},
		"with a long id":         {"EC", map[string]any{"kid": strings.Repeat("k", maxKID+1)}},
		"of another algorithm":   {"RSA", map[string]any{"alg": "RS512"}},
		"of another kind's":      {"RSA", map[string]any{"alg": "ES256"}},
		"for shared secrets":     {"EC", map[string]any{"kty": "oct", "k": "AAAA"}},
		"with its private half":  {"EC", map[string]any{"d": "AAAA"}},
		"a small RSA key":        {"RSA", map[string]any{"n": weak}},
		"a huge RSA key":         {"RSA", map[string]any{"n": huge}},
		"an even RSA modulus":    {"RSA", map[string]any{"n": base64.RawURLEncoding.EncodeToString(append(rsaKey().N.Bytes()[:255], 2))}},
		"a padded modulus":       {"RSA", map[string]any{"n": base64.RawURLEncoding.EncodeToString(append([]byte{0}, rsaKey().N.Bytes()...))}},
		"no modulus":             {"RSA", map[string]any{"n": nil}},
		"exponent 1":             {"RSA", map[string]any{"e": "AQ"}},
		"exponent 3":             {"RSA", map[string]any{"e": "Aw"}},
		"an even exponent":       {"RSA", map[string]any{"e": "AQAA"}},
		"an exponent of 4 bytes": {"RSA", map[string]any{"e": "_____w"}},
		"a huge exponent":        {"RSA", map[string]any{"e": big512}},
		"P-384":                  {"EC", map[string]any{"crv": "P-384"}},
		"no point":               {"EC", map[string]any{"x": base64.RawURLEncoding.EncodeToString(make([]byte, 32)), "y": base64.RawURLEncoding.EncodeToString(make([]byte, 32))}},
		"a short point":          {"EC", map[string]any{"x": "AAAA"}},
		"X25519":                 {"OKP", map[string]any{"crv": "X25519"}},
		"a short Ed25519 key":    {"OKP", map[string]any{"x": "AAAA"}},
		"padding":                {"OKP", map[string]any{"x": byKind["OKP"]["x"].(string) + "="}},
	} {
		data, _ := json.Marshal(map[string]any{"keys": []any{without(byKind[c.kind], c.change)}})
		if keys, err := readSet(data); err == nil {
			t.Errorf("%s: %+v", name, keys)
		}
		data, _ = json.Marshal(map[string]any{"keys": []any{without(byKind[c.kind], c.change), byKind["EC"]}})
		if keys, err := readSet(data); err != nil || len(keys) != 1 {
			t.Errorf("%s, beside a good one: %+v, %v", name, keys, err)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "no object": "[]", "no keys": "{}", "null": `{"keys":null}`, "keys twice": `{"keys":[],"keys":[]}`, "a text": `{"keys":"x"}`, "texts": `{"keys":["x"]}`,
		"many": `{"keys":[` + strings.TrimSuffix(strings.Repeat("{},", maxKeys+1), ",") + `]}`,
	} {
		if keys, err := readSet([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, keys)
		}
	}
}

// TestKeyIsForOneAlgorithm: a key that names its algorithm takes no other of its
// kind.
func TestKeyIsForOneAlgorithm(t *testing.T) {
	p := newProvider(t)
	p.only["rsa"] = ps256
	v := p.verifier(clock.NewManual(began()))
	if _, err := v.Verify(t.Context(), "login", p.sign(t, ps256, "rsa", p.claims())); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(t.Context(), "login", p.sign(t, rs256, "rsa", p.claims())); !errors.Is(err, authn.ErrRefused) {
		t.Errorf("RS256 under a key for PS256: %v", err)
	}
}

// FuzzToken: taking a token apart neither fails in other ways nor takes what has two
// spellings.
func FuzzToken(f *testing.F) {
	f.Add(b64(`{"alg":"ES256","kid":"ec","typ":"JWT"}`) + "." + b64(`{"iss":"a","exp":1,"aud":["b"],"email":"c@d","email_verified":"true"}`) + "." + b64("x"))
	f.Add("e30.e30.")
	f.Add(b64(`{"alg":"none"}`) + "." + b64(`{"exp":1e9}`) + ".")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := parse(text)
		if err != nil {
			if !errors.Is(err, authn.ErrRefused) {
				t.Fatal(err)
			}
			return
		}
		if tok.kid == "" || tok.claims.Issuer == "" || tok.claims.Expires.IsZero() || tok.signed+"."+base64.RawURLEncoding.EncodeToString(tok.signature) != text {
			t.Fatalf("%+v", tok)
		}
	})
}

// FuzzSet: whatever a set holds, its keys can be asked.
func FuzzSet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := readSet(data)
		if err == nil && len(keys) == 0 {
			t.Fatal("an empty set")
		}
		for _, k := range keys {
			for _, a := range []string{rs256, ps256, es256, eddsa, "none"} {
				if k.verify(a, "x", make([]byte, 64)) {
					t.Fatal("zeros are a signature")
				}
			}
		}
	})
}
