// SPDX-License-Identifier: Apache-2.0

package xks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/sigv4"
	"claviger/internal/gateway"
	"claviger/internal/keyserver"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Budget is how long a request may take here. KMS waits for 250 ms in all, the
// network included.
const Budget = 200 * time.Millisecond

// root is where the API begins, below the endpoint's base.
const root = "/kms/xks/v1"

// door serves one key store.
type door struct {
	site   gateway.Site
	ids    *regexp.Regexp
	signed *sigv4.Verifier
	health health
}

// newDoor makes the door of an endpoint.
func newDoor(site gateway.Site) (gateway.Door, error) {
	d := &door{site: site, ids: keyIDs()}
	o := sigv4.Options{Service: service, Region: site.Option(optionRegion)}
	for _, c := range site.Endpoint.Credentials {
		if c.Use == useSigV4 {
			read := func(ctx context.Context) (*secret.Bytes, error) { return site.Material(ctx, c.Material) }
			o.Credentials = append(o.Credentials, sigv4.Credential{ID: c.ID, Secret: read})
		}
	}
	d.signed = sigv4.New(o)
	return d, nil
}

// asked is a request that KMS has signed.
type asked struct {
	*gateway.Request
	*message
	proof sigv4.Proof
}

// Routes are the four operations.
func (d *door) Routes() []gateway.Route {
	route := func(name, path string, handle func(context.Context, *asked) (*gateway.Response, error)) gateway.Route {
		return gateway.Route{
			Name: name, Method: http.MethodPost, Path: root + path, Limit: maxBody, Deadline: Budget,
			Handle: func(ctx context.Context, r *gateway.Request) (*gateway.Response, error) {
				// Security: who asks comes first, what it asks second (T-66).
				proof, err := d.signed.Verify(ctx, r.Request, r.Body, d.site.Clock.Now())
				if err != nil {
					return nil, err
				}
				m, err := read(r)
				if err != nil {
					return nil, err
				}
				return handle(ctx, &asked{r, m, proof})
			},
		}
	}
	return []gateway.Route{
		route("metadata", "/keys/{id}/metadata", d.metadata),
		route("encrypt", "/keys/{id}/encrypt", d.encrypt),
		route("decrypt", "/keys/{id}/decrypt", d.decrypt),
		route("health", "/health", d.healthStatus),
	}
}

// key is the key that a path names, and the subject that KMS asks for.
func (d *door) key(r *asked) (name string, caller *authn.Caller, err error) {
	id := r.PathValue("id")
	if !d.ids.MatchString(id) {
		return "", nil, &failure{http.StatusNotFound, "KeyNotFoundException", "external key ids have at most 128 characters of A-Z, a-z, 0-9, ., _ and -"}
	}
	r.Note("externalKeyId", id)
	name = d.site.KeyName(id)
	if !wire.ValidKeyName(name) {
		return "", nil, &failure{http.StatusNotFound, "KeyNotFoundException", "there is no such external key: names have lower-case letters"}
	}
	caller, err = d.caller(r)
	return name, caller, err
}

// maxARN is how much of a principal's ARN names the subject; a longer one goes by
// its hash, and stands whole in the attributes.
const maxARN = 200

// caller is the subject for whom KMS asks. KMS has proved itself, and is believed.
func (d *door) caller(r *asked) (*authn.Caller, error) {
	arn := r.Metadata.Principal
	claims := authn.SubjectClaims{
		Endpoint: d.site.Endpoint.Name, EndpointKind: d.site.Endpoint.Kind, Name: arn, Attributes: map[string]any{"arn": arn},
	}
	if len(arn) > maxARN {
		sum := sha256.Sum256([]byte(arn))
		claims.Name = "sha256-" + hex.EncodeToString(sum[:])
	}
	// arn:partition:iam::account:…
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && parts[4] != "" {
		claims.Attributes["account"] = parts[4]
	}
	return r.proof.Subject(claims)
}

// metadata is GetKeyMetadata. It answers for a disabled key too.
func (d *door) metadata(ctx context.Context, r *asked) (*gateway.Response, error) {
	if err := r.needPrincipal(r.Request, false); err != nil {
		return nil, err
	}
	name, caller, err := d.key(r)
	if err != nil {
		return nil, err
	}
	key, err := d.describe(ctx, caller, name)
	if err != nil {
		return nil, err
	}
	out := struct {
		Spec   string   `json:"keySpec"`
		Usage  []string `json:"keyUsage"`
		Status string   `json:"keyStatus"`
	}{"AES_256", []string{}, "ENABLED"}
	for _, op := range key.Operations {
		if op == "encrypt" || op == "decrypt" {
			out.Usage = append(out.Usage, strings.ToUpper(op))
		}
	}
	if key.Disabled || key.Version == 0 {
		out.Status = "DISABLED"
	}
	return answer(out, false)
}

func (d *door) describe(ctx context.Context, caller *authn.Caller, name string) (*keyserver.Described, error) {
	a, err := d.site.Do(ctx, caller, &keyserver.Describe{Name: name, Route: d.site.Endpoint.Kind})
	if err != nil {
		return nil, err
	}
	key, ok := a.(*keyserver.Described)
	if !ok || key.Algorithm != "aes256" {
		return nil, &failure{http.StatusNotFound, "KeyNotFoundException", "the external key is no AES-256 key"}
	}
	return key, nil
}

// use has the key used, and gives the error that fits a key whose use is another.
func (d *door) use(ctx context.Context, caller *authn.Caller, op *keyserver.Use) (*keyserver.Used, error) {
	a, err := d.site.Do(ctx, caller, op)
	if used, ok := a.(*keyserver.Used); err == nil && ok {
		return used, nil
	}
	if denied, ok := errors.AsType[*keyserver.Denial](err); ok && denied.Cause == keyserver.CausePolicy {
		// Whoever may do something with the key is told that this isn't it.
		if _, derr := d.describe(ctx, caller, op.Item.Name); derr == nil {
			return nil, &failure{http.StatusBadRequest, "InvalidKeyUsageException", denial(err)}
		}
	}
	return nil, err
}

// encrypt is Encrypt.
func (d *door) encrypt(ctx context.Context, r *asked) (*gateway.Response, error) {
	if err := r.needPrincipal(r.Request, true); err != nil {
		return nil, err
	}
	plaintext, err := given("plaintext", r.Plaintext, maxPlaintext)
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	aad, err := optional("additionalAuthenticatedData", r.AAD, maxAAD)
	if err != nil {
		return nil, err
	}
	if err := r.aesGCM(); err != nil {
		return nil, err
	}
	wantIntegrity := r.IntegrityBy != nil
	switch {
	case len(plaintext) == 0:
		return nil, invalid("plaintext is empty")
	case wantIntegrity && *r.IntegrityBy != "SHA_256":
		return nil, invalid("ciphertextDataIntegrityValueAlgorithm is not SHA_256")
	}
	name, caller, err := d.key(r)
	if err != nil {
		return nil, err
	}
	op := d.op(r, "seal", name)
	op.Input, op.Context = plaintext, bound(aad)
	used, err := d.use(ctx, caller, op)
	if err != nil {
		return nil, err
	}
	parts, err := split(used.Output, used.Version)
	if err != nil {
		return nil, err
	}
	out := struct {
		Ciphertext []byte `json:"ciphertext"`
		IV         []byte `json:"initializationVector"`
		Tag        []byte `json:"authenticationTag"`
		Metadata   []byte `json:"ciphertextMetadata"`
		Integrity  string `json:"ciphertextDataIntegrityValue,omitempty"`
	}{parts.ciphertext, parts.iv, parts.tag, parts.metadata, ""}
	if wantIntegrity {
		// The value first, then the trial: a fault between them is found by KMS.
		out.Integrity = parts.integrity(aad)
		if err := d.trial(ctx, r, trial{caller, name, parts, aad, plaintext}); err != nil {
			return nil, err
		}
	}
	return answer(out, false)
}

// trial is a ciphertext that has to open to what it was made of.
type trial struct {
	caller    *authn.Caller
	name      string
	parts     sealed
	aad       []byte
	plaintext []byte
}

// trial opens what was just sealed, which takes permission to decrypt.
func (d *door) trial(ctx context.Context, r *asked, t trial) error {
	opened, err := d.open(ctx, r, t)
	if err != nil {
		return err
	}
	defer clear(opened)
	if string(opened) != string(t.plaintext) {
		return gateway.ErrInternal
	}
	return nil
}

func (d *door) open(ctx context.Context, r *asked, t trial) ([]byte, error) {
	raw, version, err := t.parts.join()
	if err != nil {
		return nil, errChanged()
	}
	op := d.op(r, "open", t.name)
	op.Item.Version, op.Input, op.Context = version, raw, bound(t.aad)
	used, err := d.use(ctx, t.caller, op)
	if errors.Is(err, keyserver.ErrMalformed) {
		return nil, errChanged()
	}
	if err != nil {
		return nil, err
	}
	return used.Output, nil
}

func errChanged() *failure {
	return &failure{http.StatusBadRequest, "InvalidCiphertextException", "the ciphertext, its metadata or the additional authenticated data is not what was encrypted"}
}

// decrypt is Decrypt.
func (d *door) decrypt(ctx context.Context, r *asked) (*gateway.Response, error) {
	if err := r.needPrincipal(r.Request, true); err != nil {
		return nil, err
	}
	if err := r.aesGCM(); err != nil {
		return nil, err
	}
	t := trial{}
	for _, member := range []struct {
		name string
		text *string
		to   *[]byte
		most int
		must bool
	}{
		{"ciphertext", r.Ciphertext, &t.parts.ciphertext, maxPlaintext, true},
		{"initializationVector", r.IV, &t.parts.iv, 16, true},
		{"authenticationTag", r.Tag, &t.parts.tag, 16, true},
		{"ciphertextMetadata", r.CipherMeta, &t.parts.metadata, 64, false},
		{"additionalAuthenticatedData", r.AAD, &t.aad, maxAAD, false},
	} {
		decode := optional
		if member.must {
			decode = given
		}
		var err error
		if *member.to, err = decode(member.name, member.text, member.most); err != nil {
			return nil, err
		}
	}
	if len(t.parts.ciphertext) == 0 {
		return nil, invalid("ciphertext is empty")
	}
	var err error
	if t.name, t.caller, err = d.key(r); err != nil {
		return nil, err
	}
	plaintext, err := d.open(ctx, r, t)
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	return answer(struct {
		Plaintext []byte `json:"plaintext"`
	}{plaintext}, true)
}

// op starts an operation with what is known of every request.
func (d *door) op(r *asked, operation, key string) *keyserver.Use {
	return &keyserver.Use{
		Operation: operation, Item: wire.Item{Name: key}, Route: d.site.Endpoint.Kind,
		Request: wire.Sum("xks request", r.Request.Body), Asked: r.Metadata.asked(),
	}
}
