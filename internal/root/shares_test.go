// SPDX-License-Identifier: Apache-2.0

package root

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"claviger/internal/secret"
)

func x25519(t *testing.T) string {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return identity.Recipient().String()
}

// sharing is a root in shares together with its custodians' identities.
type sharing struct {
	dir        string
	root       *Secret
	identities []age.Identity
}

func newSharing(t *testing.T, threshold, shares int) *sharing {
	t.Helper()
	s := &sharing{}
	var recipients []string
	for i := range shares {
		if i%2 == 0 {
			identity, err := age.GenerateX25519Identity()
			if err != nil {
				t.Fatal(err)
			}
			s.identities = append(s.identities, identity)
			recipients = append(recipients, identity.Recipient().String())
			continue
		}
		identity, err := age.GenerateHybridIdentity()
		if err != nil {
			t.Fatal(err)
		}
		s.identities = append(s.identities, identity)
		recipients = append(recipients, identity.Recipient().String())
	}
	s.dir, s.root = create(t, Sealing{Threshold: threshold, Recipients: recipients})
	return s
}

// texts decrypts the shares of the given indexes, as their custodians would.
func (s *sharing) texts(t *testing.T, indexes ...int) []*secret.Bytes {
	t.Helper()
	var texts []*secret.Bytes
	for _, index := range indexes {
		sealed, err := SealedShare(s.dir, index)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(sealed)), s.identities[index-1])
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(plain)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, secret.Take(text))
	}
	return texts
}

func TestShares(t *testing.T) {
	s := newSharing(t, 2, 3)
	for _, indexes := range [][]int{{1, 2}, {2, 1}, {1, 3}, {2, 3}, {3, 1, 2}} {
		wantOpen(t, s.dir, Unlock{Shares: s.texts(t, indexes...)}, s.root)
	}
	wantOnlyCustody(t, s.dir)
	described, err := Describe(s.dir)
	if err != nil || described.Kind != KindShares || described.Threshold != 2 || len(described.Custodians) != 3 || len(described.Sharing) != sharingSize {
		t.Fatalf("Describe = %+v, %v", described, err)
	}
	for i, custodian := range described.Custodians {
		if custodian.Index != i+1 || custodian.PostQuantum != (i%2 == 1) {
			t.Errorf("custodian %d is %+v", i+1, custodian)
		}
		got, err := CheckShare(s.dir, s.texts(t, i+1)[0])
		if err != nil || got != custodian {
			t.Errorf("CheckShare = %+v, %v", got, err)
		}
	}
	for _, index := range []int{-1, 0, 4} {
		if _, err := SealedShare(s.dir, index); err == nil {
			t.Errorf("there is a share %d", index)
		}
	}
}

func TestSharesAreEachForOne(t *testing.T) {
	s := newSharing(t, 2, 3)
	for index := range 3 {
		sealed, err := SealedShare(s.dir, index+1)
		if err != nil {
			t.Fatal(err)
		}
		for other, identity := range s.identities {
			_, err := age.Decrypt(armor.NewReader(bytes.NewReader(sealed)), identity)
			if (err == nil) != (other == index) {
				t.Errorf("share %d with identity %d: %v", index+1, other+1, err)
			}
		}
	}
}

func TestMissingShares(t *testing.T) {
	s := newSharing(t, 3, 5)
	for have := range 3 {
		var missing *MissingSharesError
		_, err := Open(s.dir, Unlock{Shares: s.texts(t, []int{4, 2}[:min(have, 2)]...)})
		if !errors.As(err, &missing) || missing.Have != min(have, 2) || missing.Need != 3 {
			t.Errorf("Open with %d shares = %v", have, err)
		}
	}
	_, err := Open(s.dir, Unlock{Shares: s.texts(t, 1)})
	if err == nil || !strings.Contains(err.Error(), "2 more") {
		t.Errorf("error doesn't say how many are missing: %v", err)
	}
}

func TestOneOfOne(t *testing.T) {
	s := newSharing(t, 1, 1)
	wantOpen(t, s.dir, Unlock{Shares: s.texts(t, 1)}, s.root)
}

// rewrite changes a share and makes its check line fit again.
func rewrite(t *testing.T, text *secret.Bytes, change func(*shareText)) *secret.Bytes {
	t.Helper()
	share, err := parseShare(text)
	if err != nil {
		t.Fatal(err)
	}
	change(share)
	return share.encode()
}

// TestBadShares gives one bad share beside enough good ones: it is named, with
// the reason, and nothing is opened.
func TestBadShares(t *testing.T) {
	s, other := newSharing(t, 2, 3), newSharing(t, 2, 3)
	second := s.texts(t, 2)[0]
	typed := take(strings.Replace(exposed(second), "value: ", "value:  ", 1))
	for name, test := range map[string]struct {
		share   *secret.Bytes
		index   int
		problem string
	}{
		"damaged":        {typed, 0, "damaged"},
		"sealed":         {take("age-encryption.org/v1\n"), 0, "age -d"},
		"foreign":        {other.texts(t, 2)[0], 0, "another sharing"},
		"duplicate":      {s.texts(t, 1)[0], 1, "the same as number 1"},
		"value":          {rewrite(t, second, func(s *shareText) { s.value.Expose()[5] ^= 1 }), 2, "commitment"},
		"salt":           {rewrite(t, second, func(s *shareText) { s.salt.Expose()[5] ^= 1 }), 2, "commitment"},
		"index":          {rewrite(t, second, func(s *shareText) { s.place.index = 3 }), 3, "commitment"},
		"no such index":  {rewrite(t, second, func(s *shareText) { s.place.index = 4 }), 0, "index 4 of 3"},
		"set":            {rewrite(t, second, func(s *shareText) { s.place.set[0] ^= 1 }), 2, "another custody file"},
		"threshold":      {rewrite(t, second, func(s *shareText) { s.place.threshold = 1 }), 2, "another custody file"},
		"shares":         {rewrite(t, second, func(s *shareText) { s.place.shares = 4 }), 2, "another custody file"},
		"generation":     {rewrite(t, second, func(s *shareText) { s.place.generation = 2 }), 2, "another custody file"},
		"fingerprint":    {rewrite(t, second, func(s *shareText) { s.place.fingerprint[0] ^= 1 }), 2, "another custody file"},
		"sharing, typed": {rewrite(t, second, func(s *shareText) { s.place.sharing[0] ^= 1 }), 0, "another sharing"},
	} {
		t.Run(name, func(t *testing.T) {
			shares := append(s.texts(t, 1, 3), test.share)
			_, err := Open(s.dir, Unlock{Shares: shares})
			var bad BadSharesError
			if !errors.As(err, &bad) || len(bad) != 1 {
				t.Fatalf("Open = %v", err)
			}
			want := BadShare{Position: 3, Index: test.index, Problem: bad[0].Problem}
			if test.index != 0 {
				described, err := Describe(s.dir)
				if err != nil {
					t.Fatal(err)
				}
				want.Custodian = described.Custodians[test.index-1].Recipient
			}
			if named := strings.Contains(bad.Error(), "custodian age1"); named != (test.index != 0) {
				t.Errorf("error names a custodian: %t: %v", named, bad)
			}
			if bad[0] != want || !strings.Contains(bad.Error(), test.problem) || strings.Contains(bad.Error(), "\n") || len(bad.Error()) > 300 {
				t.Errorf("bad share %+v: %v; want %+v with %q", bad[0], bad, want, test.problem)
			}
			_, err = CheckShare(s.dir, test.share)
			if alone := errors.As(err, &bad); alone == (name == "duplicate") {
				t.Errorf("CheckShare = %v", err)
			}
		})
	}
}

func TestEveryBadShareIsNamed(t *testing.T) {
	s := newSharing(t, 2, 4)
	first := s.texts(t, 1)[0]
	_, err := Open(s.dir, Unlock{Shares: []*secret.Bytes{first, take("x"), s.texts(t, 2)[0], first.Clone(), take("y")}})
	var bad BadSharesError
	if !errors.As(err, &bad) {
		t.Fatalf("Open = %v", err)
	}
	var positions []int
	for _, share := range bad {
		positions = append(positions, share.Position)
	}
	if !slices.Equal(positions, []int{2, 4, 5}) {
		t.Errorf("bad shares at %v, want 2, 4, 5", positions)
	}
}

// TestSharesAreProved: shares that give another secret than the file names are
// found before the file is written, and so are custodians named twice.
func TestSharesAreProved(t *testing.T) {
	f := &custodyFile{Format: formatName, Version: formatVersion, Generation: 1, Fingerprint: make([]byte, Size)}
	err := f.sealShares(secret.Random(Size), Sealing{Threshold: 2, Recipients: []string{x25519(t), x25519(t)}})
	if err == nil || !strings.Contains(err.Error(), "another secret") {
		t.Errorf("sealShares = %v", err)
	}
	twice := x25519(t)
	err = f.sealShares(secret.Random(Size), Sealing{Threshold: 2, Recipients: []string{twice, x25519(t), twice}})
	if err == nil || !strings.Contains(err.Error(), "custodian 3 is named twice") {
		t.Errorf("sealShares = %v", err)
	}
}

// TestReshare: after resealing, old shares are refused by name, and the root
// is the same.
func TestReshare(t *testing.T) {
	s := newSharing(t, 2, 3)
	old := s.texts(t, 1, 2)
	oldFile, err := Export(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	described, err := Describe(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	recipients := []string{described.Custodians[0].Recipient, described.Custodians[1].Recipient, identity.Recipient().String()}
	if err := Reseal(s.dir, s.root, Sealing{Threshold: 2, Recipients: recipients}); err != nil {
		t.Fatal(err)
	}
	s.identities[2] = identity
	wantOpen(t, s.dir, Unlock{Shares: s.texts(t, 2, 3)}, s.root)
	var bad BadSharesError
	if _, err := Open(s.dir, Unlock{Shares: append(old[:1:1], s.texts(t, 2)...)}); !errors.As(err, &bad) || bad[0].Position != 1 {
		t.Errorf("Open with an old share = %v", err)
	}
	kept := newDir(t)
	if err := Import(kept, oldFile); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, kept, Unlock{Shares: old}, s.root) // resealing takes nothing back, as documented
}

// TestKeptShares: what Keep gets is what the custodians will have, and too few
// of it don't open the root.
func TestKeptShares(t *testing.T) {
	var kept []*secret.Bytes
	dir, created := create(t, Sealing{
		Threshold: 2, Recipients: []string{x25519(t), x25519(t), x25519(t)},
		Keep: func(share *secret.Bytes) { kept = append(kept, share) },
	})
	if len(kept) != 3 {
		t.Fatalf("%d shares kept, want 3", len(kept))
	}
	for i, share := range kept {
		if c, err := CheckShare(dir, share); err != nil || c.Index != i+1 {
			t.Errorf("share %d: %+v, %v", i+1, c, err)
		}
	}
	wantOpen(t, dir, Unlock{Shares: kept[1:]}, created)
	if _, err := Open(dir, Unlock{Shares: kept[:1]}); err == nil {
		t.Error("one share opened the root")
	}
}
