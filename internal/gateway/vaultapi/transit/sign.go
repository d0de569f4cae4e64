// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"cmp"
	"context"
	"encoding/asn1"
	"encoding/base64"
	"math/big"

	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/hierarchy"
	"claviger/internal/keyserver"
	"claviger/internal/wire"
)

// manner is how a request wants to sign.
type manner struct {
	scheme    string // of the choke point; "": the key's default
	prehashed bool
	jws       bool // r ‖ s in Base64 for URLs, of ECDSA keys
}

// mannerOf reads it. What it can't do for the key that is named is refused: for that
// alone it asks what the key is, since most requests fit every key.
func (m *Mount) mannerOf(ctx context.Context, c *call.Call, r *request, name string) (manner, error) {
	hash := cmp.Or(c.PathValue("algorithm"), r.Hash, r.Algorithm, "sha2-256")
	switch {
	case r.Scheme != "" && r.Scheme != "pss" && r.Scheme != "pkcs1v15":
		return manner{}, call.Bad("invalid signature algorithm " + short(r.Scheme))
	case r.Marshaling != "" && r.Marshaling != "asn1" && r.Marshaling != "jws":
		return manner{}, call.Bad("invalid marshaling type " + short(r.Marshaling))
	case !hashNamed(hash) && hash != "none":
		return manner{}, call.Bad("invalid hash algorithm " + short(hash))
	case r.Salt != "" && r.Salt != "auto" && r.Salt != "hash" && r.Salt != "32":
		return manner{}, call.Bad("invalid salt length " + short(string(r.Salt)) + ": it is that of the hash, 32 bytes")
	}
	out := manner{prehashed: r.Prehashed.Value}
	if r.Scheme != "pkcs1v15" && r.Marshaling != "jws" && hash == "sha2-256" && !out.prehashed {
		return out, nil
	}
	key, err := m.describe(ctx, c, name)
	if causeIs(err, keyserver.CauseAbsent) {
		return out, absent("sign").Because(err)
	}
	if err != nil {
		return out, err
	}
	switch key.Algorithm {
	case hierarchy.AlgEd25519:
		out.prehashed = false
		if r.Prehashed.Value {
			return out, call.Bad("ed25519 keys sign the input itself: prehashed is not supported")
		}
		return out, nil // it hashes in its own way
	case hierarchy.AlgP256:
		out.jws = r.Marshaling == "jws"
	case hierarchy.AlgRSA2048, hierarchy.AlgRSA3072, hierarchy.AlgRSA4096:
		if out.scheme = hierarchy.SchemePSS; r.Scheme == "pkcs1v15" {
			out.scheme = hierarchy.SchemePKCS1
		}
	}
	if hash != "sha2-256" {
		return out, call.Bad("unsupported hash algorithm " + short(hash) + ": keys sign with sha2-256")
	}
	return out, nil
}

func (m *Mount) signing(c *call.Call, name, operation string, i *item) *work {
	w := &work{}
	var part []byte
	switch {
	case !i.Input.Set:
		w.err = call.Bad("missing input")
	case i.Input.Fault != nil:
		w.err = i.Input.Fault
	default:
		part, w.err = m.partition(c, &i.Context)
	}
	w.use = &keyserver.Use{
		Operation: operation, Item: wire.Item{Name: name, Version: uint64(i.KeyVersion.Value), Partition: part}, Input: i.Input.Value,
	}
	return w
}

func (m *Mount) sign(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	r, all, err := read(c)
	if err != nil {
		return nil, err
	}
	defer wipeAll(all)
	how, err := m.mannerOf(ctx, c, r, name)
	if err != nil {
		return nil, err
	}
	works := each(all, func(i *item) *work {
		w := m.signing(c, name, "sign", i)
		w.use.Scheme, w.use.Prehashed = how.scheme, how.prehashed
		return w
	})
	if err := m.run(ctx, c, works); err != nil {
		return nil, err
	}
	return r.answer(works, func(i int) result {
		u := works[i].used
		out := result{version: u.Version, signature: format(u.Version, u.Output)}
		if how.jws {
			out.signature = formatJWS(u.Version, u.Output)
		}
		return out
	})
}

// macName refuses another algorithm than the one of our MACs.
func macName(c *call.Call, r *request) error {
	if a := cmp.Or(c.PathValue("algorithm"), r.Hash, r.Algorithm, "sha2-256"); a != "sha2-256" {
		return call.Bad("unsupported hash algorithm " + short(a) + ": keys of type hmac have sha2-256")
	}
	return nil
}

func (m *Mount) hmac(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	r, all, err := read(c)
	if err != nil {
		return nil, err
	}
	defer wipeAll(all)
	if err := macName(c, r); err != nil {
		return nil, err
	}
	works := each(all, func(i *item) *work { return m.signing(c, name, "mac", i) })
	if err := m.run(ctx, c, works); err != nil {
		return nil, err
	}
	return r.answer(works, func(i int) result {
		return result{hmac: format(works[i].used.Version, works[i].used.Output)}
	})
}

// verify is of signatures and of MACs: the items say which, all of them the same.
func (m *Mount) verify(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	r, all, err := read(c)
	if err != nil {
		return nil, err
	}
	defer wipeAll(all)
	mac := all[0].HMAC != ""
	for _, i := range all {
		if (i.HMAC != "") != mac || i.Signature != "" && mac {
			return nil, call.Bad("provide one of 'signature' or 'hmac', and the same in a whole batch")
		}
	}
	var how manner
	if mac {
		err = macName(c, r)
	} else {
		how, err = m.mannerOf(ctx, c, r, name)
	}
	if err != nil {
		return nil, err
	}
	works := each(all, func(i *item) *work { return m.verifying(c, name, how, i) })
	if err := m.run(ctx, c, works); err != nil {
		return nil, err
	}
	return r.answer(works, func(i int) result { return result{valid: &works[i].used.Verified} })
}

func (m *Mount) verifying(c *call.Call, name string, how manner, i *item) *work {
	operation, text := "verify", i.Signature
	if i.HMAC != "" {
		operation, text = "verify-mac", i.HMAC
	}
	w := m.signing(c, name, operation, i)
	if w.err != nil {
		return w
	}
	if text == "" {
		w.err = call.Bad("neither a 'signature' nor an 'hmac' was given to verify")
		return w
	}
	p, err := parse("signature", text)
	if err != nil {
		w.err = err
		return w
	}
	w.use.Item.Version, w.use.Scheme, w.use.Prehashed = p.version, how.scheme, how.prehashed
	// What isn't even encoded as it should doesn't verify: it is no error.
	if w.use.Proof, err = proof(p.text, how.jws); err != nil {
		w.use.Proof = nil
	}
	return w
}

// proof decodes the bytes of a signature or MAC.
func proof(text string, jws bool) ([]byte, error) {
	if !jws {
		return base64.StdEncoding.DecodeString(text)
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != 64 {
		return nil, base64.CorruptInputError(0)
	}
	return asn1.Marshal(pair{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
}

// pair is an ECDSA signature in ASN.1.
type pair struct{ R, S *big.Int }

// formatJWS is the text form with r ‖ s of an ECDSA signature in DER.
func formatJWS(version uint64, der []byte) string {
	var p pair
	if rest, err := asn1.Unmarshal(der, &p); err != nil || len(rest) != 0 || p.R.BitLen() > 256 || p.S.BitLen() > 256 {
		return format(version, der) // it is no P-256 signature
	}
	raw := make([]byte, 64)
	p.R.FillBytes(raw[:32])
	p.S.FillBytes(raw[32:])
	head := format(version, nil)
	return head + base64.RawURLEncoding.EncodeToString(raw)
}
