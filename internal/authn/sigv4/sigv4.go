// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"claviger/internal/authn"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Skew is how far from the server's clock a signature's date may be.
const Skew = 5 * time.Minute

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeFormat = "20060102T150405Z"
	maxHeader  = 4 << 10      // bytes of Authorization
	maxSigned  = 32           // headers
	maxKept    = 64           // signing keys: a day and a region each
	authority  = ":authority" // what HTTP/2 has for a host
)

// Credential is one access key.
type Credential struct {
	ID string // access key id
	// Secret reads the secret access key, as its text. The verifier wipes it.
	Secret func(context.Context) (*secret.Bytes, error)
}

// Options of a Verifier.
type Options struct {
	Service     string       // of the credential scope
	Region      string       // of the credential scope; "": any
	Credentials []Credential // live ones
	MaxReplays  int          // signatures that are remembered; 0: DefaultMaxReplays
}

// Verifier knows the live credentials of one endpoint. It is safe for concurrent
// use.
type Verifier struct {
	o       Options
	region  *regexp.Regexp
	address *regexp.Regexp
	replays *replays

	mu   sync.Mutex
	keys map[scope]*secret.Bytes // of signatures that verified
}

// scope is what a signing key is derived for.
type scope struct{ id, date, region string }

// New returns a verifier.
func New(o Options) *Verifier {
	if o.MaxReplays == 0 {
		o.MaxReplays = DefaultMaxReplays
	}
	return &Verifier{
		o: o, keys: map[scope]*secret.Bytes{}, replays: newReplays(o.MaxReplays),
		region: regexp.MustCompile(`^[a-z0-9-]{1,32}$`), address: regexp.MustCompile(`^/[A-Za-z0-9/._~-]*$`),
	}
}

// Proof is that a request was signed by a live credential. Only Verify makes one.
type Proof struct{ id string }

// Credential is the id of the access key.
func (p Proof) Credential() string { return p.id }

// Subject is the caller whom the signer names. It takes a proof, so that nobody is
// believed before. Errors: authn.ErrRefused.
func (p Proof) Subject(claims authn.SubjectClaims) (*authn.Caller, error) {
	if p.id == "" {
		return nil, refused("nothing was verified")
	}
	claims.Key = wire.Sum("sigv4", []byte(p.id))
	if err := claims.Check(); err != nil {
		return nil, err
	}
	return authn.SubjectCaller(claims), nil
}

// Verify judges a request whose body has been read. Errors: authn.ErrRefused;
// those of reading a secret.
func (v *Verifier) Verify(ctx context.Context, r *http.Request, body []byte, now time.Time) (Proof, error) {
	given, err := parse(r)
	if err != nil {
		return Proof{}, err
	}
	if off := now.Sub(given.at); off > Skew || off < -Skew {
		return Proof{}, refused("its date is more than five minutes off")
	}
	if given.service != v.o.Service || !v.region.MatchString(given.region) || v.o.Region != "" && given.region != v.o.Region {
		return Proof{}, refused("its scope is another service's or region's")
	}
	text, err := v.canonical(r, given, body)
	if err != nil {
		return Proof{}, err
	}
	key, known, err := v.key(ctx, given.scope)
	if err != nil {
		return Proof{}, err
	}
	defer key.Wipe()
	want := secret.HMACSHA256(key, given.toSign(text))
	// Security: in constant time, and likewise where there is no such access key
	// (T-77).
	if subtle.ConstantTimeCompare(want[:], given.signature) != 1 || !known {
		return Proof{}, refused("no live access key made its signature")
	}
	v.keep(given.scope, key)
	if err := v.replays.use([32]byte(given.signature), given.at, now); err != nil {
		return Proof{}, err
	}
	return Proof{id: given.id}, nil
}

func refused(why string) error {
	return fmt.Errorf("%w: the request is not signed as it has to be: %s", authn.ErrRefused, why)
}

// authorization is what a request says of its signature.
type authorization struct {
	scope
	service   string
	at        time.Time
	signed    []string
	signature []byte
}

// toSign is the string that is signed for a canonical request.
func (a *authorization) toSign(canonical string) []byte {
	sum := sha256.Sum256([]byte(canonical))
	return []byte(strings.Join([]string{
		algorithm, a.at.Format(timeFormat), strings.Join([]string{a.date, a.region, a.service, terminator}, "/"), hex.EncodeToString(sum[:]),
	}, "\n"))
}

// parse reads Authorization and X-Amz-Date. Whatever is there twice is refused.
func parse(r *http.Request) (*authorization, error) {
	header, date := r.Header.Values("Authorization"), r.Header.Values("X-Amz-Date")
	if len(header) != 1 || len(date) != 1 || len(header[0]) > maxHeader {
		return nil, refused("it has no Authorization or X-Amz-Date, or two")
	}
	rest, ok := strings.CutPrefix(header[0], algorithm+" ")
	if !ok {
		return nil, refused("it is not of " + algorithm)
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[name]; !ok || twice || len(fields) == 3 {
			return nil, refused("its Authorization is malformed")
		}
		fields[name] = value
	}
	credential := strings.Split(fields["Credential"], "/")
	signature, err := hex.DecodeString(fields["Signature"])
	if len(credential) != 5 || credential[4] != terminator || err != nil || len(signature) != sha256.Size {
		return nil, refused("its Authorization is malformed")
	}
	a := &authorization{
		scope: scope{credential[0], credential[1], credential[2]}, service: credential[3],
		signed: strings.Split(fields["SignedHeaders"], ";"), signature: signature,
	}
	a.at, err = time.Parse(timeFormat, date[0])
	if err != nil || a.at.Format(timeFormat) != date[0] || a.date != date[0][:8] {
		return nil, refused("its date is malformed, or not that of its scope")
	}
	if len(a.signed) > maxSigned || !slices.IsSorted(a.signed) || len(slices.Compact(slices.Clone(a.signed))) != len(a.signed) {
		return nil, refused("the list of signed headers is not in order")
	}
	// Security: or a signature could be taken to another server, or kept.
	host := slices.Contains(a.signed, "host") || slices.Contains(a.signed, authority)
	if !host || !slices.Contains(a.signed, "x-amz-date") {
		return nil, refused("host or x-amz-date is not signed")
	}
	return a, nil
}

// canonical is the canonical request.
func (v *Verifier) canonical(r *http.Request, a *authorization, body []byte) (string, error) {
	// As it was sent: what stands before this server may have a path of its own,
	// and r.URL may be cut.
	if !v.address.MatchString(r.RequestURI) {
		return "", refused("its path has a query, or characters that would have to be escaped")
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if sent := r.Header.Values("X-Amz-Content-Sha256"); len(sent) > 1 || len(sent) == 1 && sent[0] != hash {
		return "", refused("X-Amz-Content-Sha256 is not the hash of the body")
	}
	var b strings.Builder
	for _, part := range []string{r.Method, r.RequestURI, ""} {
		b.WriteString(part + "\n")
	}
	for _, name := range a.signed {
		value, err := header(r, name)
		if err != nil {
			return "", err
		}
		b.WriteString(name + ":" + value + "\n")
	}
	b.WriteString("\n" + strings.Join(a.signed, ";") + "\n" + hash)
	return b.String(), nil
}

// header is the canonical value of a header that was signed.
func header(r *http.Request, name string) (string, error) {
	if name == "" || name != strings.ToLower(name) {
		return "", refused("a signed header's name is not in lower case")
	}
	if name == "host" || name == authority && r.ProtoMajor >= 2 {
		return r.Host, nil
	}
	values := r.Header.Values(name)
	if name == "content-length" && len(values) == 0 {
		return strconv.FormatInt(r.ContentLength, 10), nil
	}
	// Security: of several, who looks at the first takes another than who looks at the
	// last.
	if len(values) != 1 {
		return "", refused("a header that is signed isn't there, or there twice")
	}
	blank := func(c rune) bool { return c == ' ' || c == '\t' }
	return strings.Join(strings.FieldsFunc(values[0], blank), " "), nil
}

// key is the signing key of a scope, the caller's to wipe: one that nobody has if
// there is no such access key.
func (v *Verifier) key(ctx context.Context, s scope) (key *secret.Bytes, known bool, err error) {
	v.mu.Lock()
	if kept := v.keys[s]; kept != nil {
		key = kept.Clone()
	}
	v.mu.Unlock()
	if key != nil {
		return key, true, nil
	}
	text := secret.Random(sha256.Size)
	defer func() { text.Wipe() }()
	if i := slices.IndexFunc(v.o.Credentials, func(c Credential) bool { return c.ID == s.id }); i >= 0 {
		read, err := v.o.Credentials[i].Secret(ctx)
		if err != nil {
			return nil, false, fmt.Errorf("read the credential: %w", err)
		}
		text.Wipe()
		text, known = read, true
	}
	return signingKey(text, s, v.o.Service), known, nil
}

// signingKey derives the key of a scope from a secret access key.
func signingKey(text *secret.Bytes, s scope, service string) *secret.Bytes {
	key := secret.New(len("AWS4") + text.Len())
	copy(key.Expose(), "AWS4")
	copy(key.Expose()[len("AWS4"):], text.Expose())
	for _, part := range []string{s.date, s.region, service, terminator} {
		next := secret.HMACSHA256(key, []byte(part))
		key.Wipe()
		key = secret.Take(next[:])
	}
	return key
}

// keep remembers the key of a signature that verified. Others never get here, so
// that nobody fills the memory with regions of his own.
func (v *Verifier) keep(s scope, key *secret.Bytes) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keys[s] != nil {
		return
	}
	for old, kept := range v.keys {
		if old.date != s.date && old.id == s.id || len(v.keys) >= maxKept {
			kept.Wipe()
			delete(v.keys, old)
		}
	}
	v.keys[s] = key.Clone()
}

// Signer signs as the holder of an access key.
type Signer struct {
	ID              string
	Secret          *secret.Bytes // as its text
	Region, Service string
}

// Sign signs a request whose body is given, as KMS would: its content type, host
// and date.
func (s Signer) Sign(r *http.Request, body []byte, now time.Time) {
	s.sign(r, body, now, "content-type", "host", "x-amz-date")
}

func (s Signer) sign(r *http.Request, body []byte, now time.Time, headers ...string) {
	now = now.UTC()
	r.Header.Set("X-Amz-Date", now.Format(timeFormat))
	a := &authorization{scope: scope{s.ID, now.Format("20060102"), s.Region}, service: s.Service, at: now, signed: headers}
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	values := map[string]string{"content-type": r.Header.Get("Content-Type"), "host": r.Host, authority: r.Host, "x-amz-date": r.Header.Get("X-Amz-Date")}
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n\n"
	for _, name := range headers {
		canonical += name + ":" + values[name] + "\n"
	}
	sum := sha256.Sum256(body)
	canonical += "\n" + strings.Join(headers, ";") + "\n" + hex.EncodeToString(sum[:])
	key := signingKey(s.Secret, a.scope, s.Service)
	defer key.Wipe()
	mac := secret.HMACSHA256(key, a.toSign(canonical))
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s/%s/%s/%s, SignedHeaders=%s, Signature=%s",
		algorithm, s.ID, a.date, s.Region, s.Service, terminator, strings.Join(headers, ";"), hex.EncodeToString(mac[:])))
}
