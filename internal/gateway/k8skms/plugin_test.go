// SPDX-License-Identifier: Apache-2.0

package k8skms

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/gateway/localrpc"
	"claviger/internal/testkit"
	"claviger/internal/testkit/faultfs"
)

const seed = "a seed of 32 bytes, like a canary"

func TestWrapAndUnwrap(t *testing.T) {
	w := newWorld(t)
	s := w.status()
	if s.healthz != healthy || !isKeyID(s.keyID) || !strings.HasSuffix(s.keyID, "/1") {
		t.Fatalf("status %+v", s)
	}
	sealed := w.mustSeal(seed)
	if sealed.keyID != s.keyID || len(sealed.ciphertext) > MaxCiphertext || bytes.Contains(sealed.ciphertext, []byte("seed")) {
		t.Errorf("wrapped with %s, %d bytes; status says %s", sealed.keyID, len(sealed.ciphertext), s.keyID)
	}
	if again := w.mustSeal(seed); bytes.Equal(again.ciphertext, sealed.ciphertext) {
		t.Error("the same seed gives the same ciphertext")
	}
	if got, err := w.open(sealed); err != nil || got != seed {
		t.Errorf("opened %q, %v", got, err)
	}
	log := w.log.String()
	for _, want := range []string{"uid=uid-1", "uid=uid-2", "key_id=" + s.keyID} {
		if !strings.Contains(log, want) {
			t.Errorf("the log doesn't hold %s", want)
		}
	}
	if strings.Contains(log, "canary") {
		t.Error("the log holds a seed")
	}
}

// TestKeyIDFollowsTheVersion: key_id changes with the version, in Status and Encrypt at
// once, replicas agree on it, and what older versions sealed opens.
func TestKeyIDFollowsTheVersion(t *testing.T) {
	w := newWorld(t)
	first := w.mustSeal(seed)
	w.Rotate(key)
	w.restart()
	s := w.status()
	if s.keyID == first.keyID || !strings.HasSuffix(s.keyID, "/2") || s.keyID[:len(s.keyID)-1] != first.keyID[:len(first.keyID)-1] {
		t.Errorf("after a rotation %s became %s", first.keyID, s.keyID)
	}
	if second := w.mustSeal(seed); second.keyID != s.keyID {
		t.Errorf("Encrypt says %s, Status %s", second.keyID, s.keyID)
	}
	if got, err := w.open(first); err != nil || got != seed {
		t.Errorf("the first version's opens as %q, %v", got, err)
	}
	if _, other := w.beside(); other != w.socket {
		w.socket = other
		if replica := w.status(); replica.keyID != s.keyID {
			t.Errorf("a replica says %s, not %s", replica.keyID, s.keyID)
		}
	}
}

// TestRotationIsSeen: a plugin that runs takes up a new version by itself.
func TestRotationIsSeen(t *testing.T) {
	w := newWorld(t)
	before := w.status().keyID
	w.Rotate(key)
	for end := time.After(time.Minute); ; {
		w.clock.Advance(40 * time.Second) // news is asked for then
		s := w.status()
		if s.healthz != healthy {
			t.Fatalf("status %+v", s)
		}
		if s.keyID != before {
			return
		}
		select {
		case <-end:
			t.Fatal("the new version is not used")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestChangedInTheStore: whoever writes etcd can't change what belongs to a seed.
func TestChangedInTheStore(t *testing.T) {
	w := newWorld(t)
	sealed := w.mustSeal(seed)
	w.Rotate(key)
	w.CreateKey("k8s/other", authority.AES256)
	w.restart()
	second := w.mustSeal("another seed")
	for name, c := range map[string]struct {
		change func(*wrapped)
		code   localrpc.Code
	}{
		"a flipped bit":              {func(s *wrapped) { s.ciphertext[len(s.ciphertext)-1] ^= 1 }, localrpc.InvalidArgument},
		"cut":                        {func(s *wrapped) { s.ciphertext = s.ciphertext[:40] }, localrpc.InvalidArgument},
		"nothing":                    {func(s *wrapped) { s.ciphertext = nil }, localrpc.InvalidArgument},
		"no field":                   {func(s *wrapped) { s.ciphertext = []byte("k8s:enc:kms:v2:x") }, localrpc.InvalidArgument},
		"another version's key_id":   {func(s *wrapped) { s.keyID = second.keyID }, localrpc.InvalidArgument},
		"another plugin's key_id":    {func(s *wrapped) { s.keyID = "vault/1" }, localrpc.InvalidArgument},
		"a key_id in capitals":       {func(s *wrapped) { s.keyID = strings.ToUpper(s.keyID) }, localrpc.InvalidArgument},
		"no key_id":                  {func(s *wrapped) { s.keyID = "" }, localrpc.InvalidArgument},
		"no annotations":             {func(s *wrapped) { clear(s.annotations) }, localrpc.InvalidArgument},
		"an annotation more":         {func(s *wrapped) { s.annotations["a.example"] = []byte("x") }, localrpc.InvalidArgument},
		"another annotation's value": {func(s *wrapped) { s.annotations[annotation] = []byte("2") }, localrpc.InvalidArgument},
		"another key": {func(s *wrapped) {
			s.ciphertext[10] ^= 1 // within the key id
			s.keyID = keyIDPrefix + strings.Repeat("0", 32) + "/1"
		}, localrpc.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			changed := wrapped{bytes.Clone(sealed.ciphertext), sealed.keyID, maps.Clone(sealed.annotations)}
			c.change(&changed)
			got, err := w.open(changed)
			if err == nil || got != "" {
				t.Errorf("opened %q", got)
			}
			w.refuses(name, err, c.code)
		})
	}
}

// TestOtherKeys: a ciphertext of a key that isn't the plugin's is refused as such, even
// if policy would let the plugin have it.
func TestOtherKeys(t *testing.T) {
	w := newWorld(t)
	w.CreateKey("k8s/other", authority.AES256)
	w.Allow(testkit.ID("apiserver"), "k8s/other")
	w.restart()
	w.plugin.o.Key = "k8s/other"
	other := w.mustSeal(seed)
	w.plugin.o.Key = key
	_, err := w.open(other)
	w.refuses("another key's", err, localrpc.NotFound)
}

// TestDenied: no policy, no key; and the server's log shows the refusal.
func TestDenied(t *testing.T) {
	w := newWorld(t)
	sealed := w.mustSeal(seed)
	w.profile = w.Enroll("stranger")
	w.restart()
	_, err := w.seal(seed)
	w.refuses("Encrypt", err, localrpc.PermissionDenied)
	_, err = w.open(sealed)
	w.refuses("Decrypt", err, localrpc.PermissionDenied)
	if s := w.status(); s.keyID != "" || !strings.Contains(s.healthz, "no policy allows it") {
		t.Errorf("status %+v", s)
	}
	if n := w.Decisions("denied", testkit.ID("stranger"), key); n == 0 {
		t.Error("no refusal stands in the log")
	}
}

// TestUnwellWithoutAName: a plugin that may wrap and not unwrap is unwell, and gives an
// API server no name to go on with.
func TestUnwellWithoutAName(t *testing.T) {
	w := newWorld(t)
	w.profile = w.Enroll("writer")
	w.Allow(testkit.ID("writer"), key, "encrypt")
	w.restart()
	if _, err := w.seal(seed); err != nil {
		t.Fatal(err)
	}
	if s := w.status(); s.keyID != "" || !strings.Contains(s.healthz, "may not decrypt") {
		t.Errorf("status %+v", s)
	}
}

// TestDisabled: a key that is switched off is gone with the next news, and says so.
func TestDisabled(t *testing.T) {
	w := newWorld(t)
	sealed := w.mustSeal(seed)
	w.Propose(authority.KindKeyDisable, authority.KeyRef{ID: w.Key(key).ID, Reason: "test"})
	w.clock.Advance(40 * time.Second) // so that news is asked for
	if s := w.status(); s.keyID != "" || !strings.Contains(s.healthz, "the key is disabled") {
		t.Errorf("status %+v", s)
	}
	_, err := w.open(sealed)
	w.refuses("Decrypt", err, localrpc.PermissionDenied)
	_, err = w.seal(seed)
	w.refuses("Encrypt", err, localrpc.PermissionDenied)
	if next := w.plugin.keep(t.Context()); next != keepDenied {
		t.Errorf("it asks again in %v: each time is a refusal in the server's log", next)
	}
	w.Propose(authority.KindKeyEnable, authority.KeyRef{ID: w.Key(key).ID, Reason: "test"})
	if s := w.status(); s.healthz != healthy {
		t.Errorf("enabled again: status %+v", s)
	}
}

// TestRevoked: so is a revoked plugin.
func TestRevoked(t *testing.T) {
	w := newWorld(t)
	sealed := w.mustSeal(seed)
	w.Propose(authority.KindClientRevoke, authority.Subject{Client: testkit.ID("apiserver"), Reason: "test"})
	w.clock.Advance(40 * time.Second)
	if s := w.status(); s.keyID != "" || !strings.Contains(s.healthz, "revoked") {
		t.Errorf("status %+v", s)
	}
	_, err := w.open(sealed)
	w.refuses("Decrypt", err, localrpc.PermissionDenied)
}

// TestServerAway: without a server the plugin goes on with every version that it knows,
// for as long as the staleness bound lasts; then it says why it doesn't.
func TestServerAway(t *testing.T) {
	w := newWorld(t)
	first := w.mustSeal(seed)
	w.Rotate(key)
	w.restart()
	if _, err := w.open(first); err != nil {
		t.Fatal(err)
	}
	second := w.mustSeal(seed)
	w.plugin.keep(t.Context())
	w.Stop()
	w.clock.Advance(5 * time.Minute)
	if s := w.status(); s.healthz != healthy || s.keyID != second.keyID {
		t.Errorf("after five minutes: status %+v", s)
	}
	for _, s := range []wrapped{first, second} {
		if got, err := w.open(s); err != nil || got != seed {
			t.Errorf("%s: %q, %v", s.keyID, got, err)
		}
	}
	w.clock.Advance(11 * time.Minute)
	if s := w.status(); s.keyID != "" || !strings.Contains(s.healthz, "recently enough") {
		t.Errorf("at the staleness bound: status %+v", s)
	}
	_, err := w.open(first)
	w.refuses("Decrypt", err, localrpc.Unavailable)
	_, err = w.seal(seed)
	w.refuses("Encrypt", err, localrpc.Unavailable)
	w.Start()
	if s := w.status(); s.healthz != healthy {
		t.Errorf("with the server back: status %+v", s)
	}
}

// TestKeepRenews: leases of versions in use are renewed without a call of the API server.
func TestKeepRenews(t *testing.T) {
	w := newWorld(t)
	first := w.mustSeal(seed)
	w.Rotate(key)
	w.restart()
	if _, err := w.open(first); err != nil {
		t.Fatal(err)
	}
	for range 3 { // each longer than half a lease
		w.clock.Advance(45 * time.Minute)
		w.plugin.keep(t.Context())
	}
	w.clock.Advance(10 * time.Minute)
	w.Stop()
	if got, err := w.open(first); err != nil || got != seed {
		t.Errorf("an hour after it was last asked for: %q, %v", got, err)
	}
	if len(w.plugin.known) != 1 || bytes.Equal(w.plugin.known[0].ciphertext, first.ciphertext) {
		t.Error("what is kept opens something")
	}
	w.Start()
}

// TestLimits: what is too large or no message of the protocol is refused, and does no
// harm.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	if _, err := w.seal(strings.Repeat("x", 900)); err != nil {
		t.Errorf("900 bytes: %v", err)
	}
	_, err := w.seal(strings.Repeat("x", 1000))
	w.refuses("1,000 bytes", err, localrpc.InvalidArgument)
	for name, c := range map[string]struct {
		path    string
		message []byte
		code    localrpc.Code
	}{
		"too large":         {PathEncrypt, localrpc.AppendBytes(nil, 1, bytes.Repeat([]byte("x"), MaxMessage)), localrpc.ResourceExhausted},
		"no message":        {PathEncrypt, []byte("seed"), localrpc.InvalidArgument},
		"twice":             {PathEncrypt, localrpc.AppendBytes(localrpc.AppendBytes(nil, 1, "a"), 1, "b"), localrpc.InvalidArgument},
		"a number":          {PathEncrypt, []byte{0x08, 0x01}, localrpc.InvalidArgument},
		"uid not UTF-8":     {PathEncrypt, localrpc.AppendBytes(nil, 2, "\xff"), localrpc.InvalidArgument},
		"long uid":          {PathEncrypt, localrpc.AppendBytes(nil, 2, strings.Repeat("u", 1000)), localrpc.InvalidArgument},
		"long ciphertext":   {PathDecrypt, localrpc.AppendBytes(nil, 1, strings.Repeat("c", 2000)), localrpc.InvalidArgument},
		"long key_id":       {PathDecrypt, localrpc.AppendBytes(nil, 3, strings.Repeat("k", 2000)), localrpc.InvalidArgument},
		"annotations":       {PathDecrypt, bytes.Repeat(localrpc.AppendBytes(nil, 4, localrpc.AppendBytes(nil, 1, "a.b")), 2), localrpc.InvalidArgument},
		"status, malformed": {PathStatus, []byte{0x0b}, localrpc.InvalidArgument},
		"another method":    {service + "Rotate", nil, localrpc.NotOffered},
		"version 1":         {"/v1beta1.KeyManagementService/Encrypt", nil, localrpc.NotOffered},
	} {
		_, err := localrpc.Call(t.Context(), w.socket, c.path, c.message)
		w.refuses(name, err, c.code)
	}
	if s := w.status(); s.healthz != healthy {
		t.Errorf("afterwards: %+v", s)
	}
}

// disk is a faultfs as the audit log takes it.
type disk struct{ *faultfs.FS }

func (d disk) Open(name string, create bool) (audit.File, error) {
	f, err := d.FS.Open(name, create)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// TestAuditUnwritable: a key server whose audit log can't be written gives no lease, and
// so nothing is wrapped; what was leased before goes on.
func TestAuditUnwritable(t *testing.T) {
	d := disk{faultfs.New(1)}
	w := newWorldWith(t, testkit.Options{AuditFS: d})
	sealed := w.mustSeal(seed)
	if s := w.status(); s.healthz != healthy {
		t.Fatalf("status %+v", s)
	}
	d.SetFault(func(op faultfs.Op) error {
		if op.Kind == faultfs.Write || op.Kind == faultfs.Sync {
			return errors.New("no space left on device")
		}
		return nil
	})
	if got, err := w.open(sealed); err != nil || got != seed {
		t.Errorf("with a lease: %q, %v", got, err)
	}
	w.restart()
	_, err := w.seal(seed)
	w.refuses("Encrypt", err, localrpc.Unavailable)
	_, err = w.open(sealed)
	w.refuses("Decrypt", err, localrpc.Unavailable)
	if s := w.status(); s.keyID != "" || s.healthz == healthy {
		t.Errorf("status %+v", s)
	}
	d.SetFault(nil)
	w.Abandon()
	w.Start()
	if got, err := w.open(sealed); err != nil || got != seed {
		t.Errorf("with the disk back: %q, %v", got, err)
	}
}

// TestProbe: the probe takes the steps of an API server, and says which one fails.
func TestProbe(t *testing.T) {
	w := newWorld(t)
	checks := Probe(t.Context(), w.clock, w.socket)
	for _, c := range checks {
		if c.Err != nil || c.Note == "" {
			t.Errorf("%+v", c)
		}
	}
	if len(checks) != 3 {
		t.Errorf("%d checks", len(checks))
	}
	w.Propose(authority.KindKeyDisable, authority.KeyRef{ID: w.Key(key).ID, Reason: "test"})
	w.clock.Advance(40 * time.Second)
	checks = Probe(t.Context(), w.clock, w.socket)
	if len(checks) != 1 || checks[0].Err == nil || !strings.Contains(checks[0].Err.Error(), "the key is disabled") {
		t.Errorf("%+v", checks)
	}
	if checks = Probe(t.Context(), w.clock, w.socket+"x"); len(checks) != 1 || checks[0].Err == nil {
		t.Errorf("of no plugin: %+v", checks)
	}
}
