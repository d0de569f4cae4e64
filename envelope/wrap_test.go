// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// unwrapFunc and wrapFunc play callers' own implementations.
type unwrapFunc func(ctx context.Context, slots []Slot) (Unwrapped, error)

func (f unwrapFunc) Unwrap(ctx context.Context, slots []Slot) (Unwrapped, error) {
	return f(ctx, slots)
}

type wrapFunc func(ctx context.Context, dek []byte) (Slot, error)

func (f wrapFunc) Wrap(ctx context.Context, dek []byte) (Slot, error) { return f(ctx, dek) }

func TestSeveralSlots(t *testing.T) {
	refs := []Ref{testRef("a"), testRef("b"), testRef("")}
	var keys []*LeafKey
	for _, r := range refs {
		r.Domain = refs[0].Domain
		keys = append(keys, leafKey(t, r))
	}
	plain := []byte("for three")
	o := Options{Also: []Wrapper{keys[1], keys[2]}}
	object := encrypt(t, keys[0], plain, o)
	for i, k := range keys {
		got, err := Decrypt(t.Context(), k, object, Options{})
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("key %d: %v", i, err)
		}
	}
	header, _ := split(t, object)
	for i, k := range keys {
		opener := must[*Opener](t)(NewOpener(t.Context(), k, header, Options{}))
		if got := opener.Ref(); !got.sameLeaf(keys[i].Ref()) {
			t.Errorf("Ref = %+v, want %+v", got, keys[i].Ref())
		}
	}
	o.Also = append(o.Also, leafKey(t, testRef("c")))
	if _, err := Encrypt(t.Context(), keys[0], plain, o); err == nil {
		t.Error("slots of two domains in one header")
	}
	if _, err := Encrypt(t.Context(), keys[0], plain, Options{Also: []Wrapper{keys[0]}}); err == nil {
		t.Error("two slots for one key")
	}
}

// TestFreshDEK guards the rule that a DEK seals one body: two objects have
// nothing but their ids in common.
func TestFreshDEK(t *testing.T) {
	k := leafKey(t, testRef(""))
	deks := map[string]bool{}
	spy := wrapFunc(func(ctx context.Context, dek []byte) (Slot, error) {
		deks[string(dek)] = true
		return k.Wrap(ctx, dek)
	})
	for range 50 {
		encrypt(t, spy, []byte("same"), Options{})
	}
	if len(deks) != 50 || deks[string(make([]byte, DEKSize))] {
		t.Errorf("%d different data keys for 50 objects", len(deks))
	}
}

func TestSealerSealsOnce(t *testing.T) {
	k := leafKey(t, testRef(""))
	calls := map[string]func(s *Sealer) error{
		"Seal":   func(s *Sealer) error { _, err := s.Seal([]byte("x")); return err },
		"Writer": func(s *Sealer) error { _, err := s.Writer(&bytes.Buffer{}); return err },
		"Stream": func(s *Sealer) error {
			_, err := s.Stream(t.Context(), &bytes.Buffer{}, &bytes.Buffer{})
			return err
		},
		"File": func(s *Sealer) error {
			_, err := s.File(t.Context(), newFile(t), bytes.NewReader(nil), 0)
			return err
		},
	}
	for first, begin := range calls {
		for second, again := range calls {
			s := must[*Sealer](t)(NewSealer(t.Context(), k, Options{}))
			if err := begin(s); err != nil {
				t.Errorf("%s: %v", first, err)
			}
			wantErr(t, first+", then "+second, again(s), ErrUsed)
		}
	}
}

func TestDetached(t *testing.T) {
	k := leafKey(t, testRef(""))
	o := Options{Context: []byte("c")}
	s := must[*Sealer](t)(NewSealer(t.Context(), k, o))
	header := s.Header()
	body := must[[]byte](t)(s.Seal([]byte("hello")))
	opener := must[*Opener](t)(NewOpener(t.Context(), k, header, o))
	for range 2 {
		got, err := opener.Open(body)
		if err != nil || string(got) != "hello" {
			t.Errorf("Open: %q, %v", got, err)
		}
	}
	_, err := opener.Open(append(bytes.Clone(header), body...))
	wantErr(t, "header not taken off", err, ErrIntegrity)
	_, err = opener.Reader(bytes.NewReader(body[:20]))
	wantErr(t, "body cut in its prefix", err, ErrIntegrity)
	whole, err := Decrypt(t.Context(), k, append(header, body...), o)
	if err != nil || string(whole) != "hello" {
		t.Errorf("joined: %q, %v", whole, err)
	}
}

// TestOwnUnwrapper holds callers' implementations to the contract.
func TestOwnUnwrapper(t *testing.T) {
	k := leafKey(t, testRef(""))
	object := encrypt(t, k, []byte("x"), Options{})
	offline := errors.New("server unreachable")
	cases := map[string]struct {
		answer Unwrapped
		err    error
		want   error
	}{
		"no key":      {err: ErrNoKey, want: ErrNoKey},
		"own trouble": {err: offline, want: offline},
		"another DEK": {answer: Unwrapped{DEK: random(32), Domain: k.ref.Domain}, want: ErrIntegrity},
	}
	for name, c := range cases {
		u := unwrapFunc(func(context.Context, []Slot) (Unwrapped, error) { return c.answer, c.err })
		_, err := Decrypt(t.Context(), u, object, Options{})
		wantErr(t, name, err, c.want)
	}
	for name, change := range map[string]func(u *Unwrapped){
		"short DEK":      func(u *Unwrapped) { u.DEK = u.DEK[:16] },
		"no DEK":         func(u *Unwrapped) { u.DEK = nil },
		"slot too large": func(u *Unwrapped) { u.Slot = 1 },
		"slot negative":  func(u *Unwrapped) { u.Slot = -1 },
	} {
		u := unwrapFunc(func(ctx context.Context, slots []Slot) (Unwrapped, error) {
			got, err := k.Unwrap(ctx, slots)
			change(&got)
			return got, err
		})
		_, err := Decrypt(t.Context(), u, object, Options{})
		if err == nil || errors.Is(err, ErrIntegrity) { // the ciphertext is blameless
			t.Errorf("%s: %v", name, err)
		}
	}
	var given []byte
	u := unwrapFunc(func(ctx context.Context, slots []Slot) (Unwrapped, error) {
		got, err := k.Unwrap(ctx, slots)
		given = got.DEK
		return got, err
	})
	got, err := Decrypt(t.Context(), u, object, Options{})
	if err != nil || string(got) != "x" {
		t.Errorf("own Unwrapper: %q, %v", got, err)
	}
	if !bytes.Equal(given, make([]byte, DEKSize)) {
		t.Error("the data key that Unwrap returned wasn't wiped")
	}
	wrong := unwrapFunc(func(ctx context.Context, slots []Slot) (Unwrapped, error) {
		got, err := k.Unwrap(ctx, slots)
		got.Domain[0] ^= 1
		return got, err
	})
	_, err = Decrypt(t.Context(), wrong, object, Options{})
	wantErr(t, "right DEK, other domain", err, ErrIntegrity)
}

func TestOwnWrapper(t *testing.T) {
	offline := errors.New("server unreachable")
	failing := wrapFunc(func(context.Context, []byte) (Slot, error) { return Slot{}, offline })
	_, err := Encrypt(t.Context(), failing, nil, Options{})
	wantErr(t, "own trouble", err, offline)
	bare := wrapFunc(func(context.Context, []byte) (Slot, error) { return Slot{}, nil })
	if _, err := Encrypt(t.Context(), bare, nil, Options{}); err == nil {
		t.Error("a slot without domain and version was taken")
	}
}

func TestRewrap(t *testing.T) {
	a, b, c := testRef("p"), testRef("q"), testRef("r")
	b.Domain, c.Domain = a.Domain, a.Domain
	ka, kb, kc := leafKey(t, a), leafKey(t, b), leafKey(t, c)
	plain := random(20000)
	o := Options{Context: []byte("c"), Also: []Wrapper{kb}}
	header, body := split(t, encrypt(t, ka, plain, o))

	renewed := must[[]byte](t)(Rewrap(t.Context(), ka, kc, header))
	if len(renewed) != len(header) {
		t.Errorf("header grew from %d to %d bytes", len(header), len(renewed))
	}
	object := append(bytes.Clone(renewed), body...)
	for name, k := range map[string]*LeafKey{"the new key": kc, "the other slot": kb} {
		got, err := Decrypt(t.Context(), k, object, o)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := Decrypt(t.Context(), ka, object, o)
	wantErr(t, "the old key", err, ErrNoKey)
	if got, err := Decrypt(t.Context(), ka, append(header, body...), o); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("old header: %v", err)
	}

	scribbler := unwrapFunc(func(ctx context.Context, slots []Slot) (Unwrapped, error) {
		got, err := ka.Unwrap(ctx, slots)
		clear(slots[1].Message[:])
		return got, err
	})
	renewed = must[[]byte](t)(Rewrap(t.Context(), scribbler, kc, header))
	if _, err := NewOpener(t.Context(), kb, renewed, o); err != nil {
		t.Errorf("the other slot after an Unwrapper wrote to what it was given: %v", err)
	}

	_, err = Rewrap(t.Context(), leafKey(t, a), kc, header)
	wantErr(t, "same ids, other leaf", err, ErrIntegrity)
	_, err = Rewrap(t.Context(), kc, ka, header)
	wantErr(t, "a key that isn't in the header", err, ErrNoKey)
	_, err = Rewrap(t.Context(), ka, kc, mutate(header, flip(len(header)-1)))
	wantErr(t, "a header with a wrong MAC", err, ErrIntegrity)
	if _, err := Rewrap(t.Context(), ka, kb, header); err == nil {
		t.Error("rewrapped for a key that has a slot already")
	}
	if _, err := Rewrap(t.Context(), ka, leafKey(t, testRef("")), header); err == nil {
		t.Error("rewrapped one of two slots for another domain")
	}
	offline := errors.New("server unreachable")
	failing := wrapFunc(func(context.Context, []byte) (Slot, error) { return Slot{}, offline })
	_, err = Rewrap(t.Context(), ka, failing, header)
	wantErr(t, "the Wrapper fails", err, offline)
}

// TestRewrapToAnotherDomain moves a lone slot, body untouched.
func TestRewrapToAnotherDomain(t *testing.T) {
	from, to := leafKey(t, testRef("p")), leafKey(t, testRef("q"))
	header, body := split(t, encrypt(t, from, []byte("x"), Options{}))
	renewed := must[[]byte](t)(Rewrap(t.Context(), from, to, header))
	got, err := Decrypt(t.Context(), to, append(renewed, body...), Options{})
	if err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestSlotsCantBeMixed: without the DEK nobody adds, drops or moves a slot.
func TestSlotsCantBeMixed(t *testing.T) {
	a, b := testRef("p"), testRef("q")
	b.Domain = a.Domain
	ka, kb := leafKey(t, a), leafKey(t, b)
	both, _ := split(t, encrypt(t, ka, nil, Options{Also: []Wrapper{kb}}))
	foreign, _ := split(t, encrypt(t, kb, nil, Options{}))
	const slot = 27 + 1 + 104
	dropped := append(append([]byte(nil), both[:14+slot]...), both[len(both)-32:]...)
	dropped[11], dropped[12], dropped[13] = 1, 0, slot
	swapped := bytes.Clone(both)
	copy(swapped[14:], both[14+slot:14+2*slot])
	copy(swapped[14+slot:], both[14:14+slot])
	grafted := bytes.Clone(both)
	copy(grafted[14+slot:], foreign[14:14+slot])
	for name, bad := range map[string][]byte{"dropped": dropped, "swapped": swapped, "grafted": grafted} {
		if _, err := parseHeader(bad); err != nil {
			t.Fatalf("%s: the test's header isn't well-formed", name)
		}
		_, err := NewOpener(t.Context(), ka, bad, Options{})
		wantErr(t, name, err, ErrIntegrity)
	}
}
