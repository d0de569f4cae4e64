// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"

	"claviger/internal/secret"
	"claviger/internal/store"
)

// attacker holds the root secret and everything that was ever written outside
// the servers' erased files, and looks for a version's key.
type attacker struct {
	h       *Hierarchy    // root-derived keys only
	servers [][16]byte    // their ids are public
	epochs  []EpochID     // so are these
	media   [][]byte      // raw bytes of disks
	entries []store.Entry // every slot value ever
	grants  []Grant       // every grant ever made, of lost plans too
	backups [][]byte
	windows bool // also try every window of raw bytes as a key that somebody forgot to seal
}

func (w *world) attacker(media ...[]byte) *attacker {
	h, err := newHierarchy(w.options(0xff, newMemFS()))
	must(w.t, err)
	w.t.Cleanup(h.Close)
	a := &attacker{h: h, media: media, entries: slices.Clone(w.slots.ever), grants: slices.Clone(w.grants)}
	for server := range w.live {
		a.servers = append(a.servers, server)
	}
	a.epochs = append(a.epochs, EpochID{})
	for _, g := range a.grants {
		a.epochs = append(a.epochs, g.Epoch)
	}
	return a
}

// blobs yields each place in raw bytes where a blob with a plaintext of n bytes
// could begin.
func blobs(raw []byte, n int, try func(blob []byte)) {
	for i := 0; i+n+sealOverhead <= len(raw); i++ {
		if raw[i] == sealVersion {
			try(raw[i : i+n+sealOverhead])
		}
	}
}

// files finds epoch files anywhere in the media: EEKs and private epoch keys.
func (a *attacker) files() (eeks []*secret.Bytes, seeds []*secret.Bytes) {
	for _, medium := range a.media {
		for _, server := range a.servers {
			a.h.o.Server = server
			for number := range uint64(8) {
				header := a.h.fileHeader(number)
				blobs(medium, 16+2*keySize, func(blob []byte) {
					if p, err := unseal(a.h.local, place{a.h.o.Domain, kindEpochFile, [][]byte{header}}, blob); err == nil {
						eeks = append(eeks, secret.Take(p.Expose()[16:48]))
						seeds = append(seeds, secret.Take(p.Expose()[48:]))
					}
				})
				blobs(medium, 16+keySize, func(blob []byte) {
					if p, err := unseal(a.h.local, place{a.h.o.Domain, kindJoinFile, [][]byte{header}}, blob); err == nil {
						seeds = append(seeds, secret.Take(p.Expose()[16:]))
					}
				})
			}
		}
		for i := 0; a.windows && i+keySize <= len(medium); i++ {
			window := slices.Clone(medium[i : i+keySize])
			if !bytes.Equal(window, make([]byte, keySize)) {
				eeks = append(eeks, secret.Take(window))
			}
		}
	}
	return eeks, seeds
}

// eeks collects every erasure-epoch key within reach.
func (a *attacker) eeks() []*secret.Bytes {
	eeks, seeds := a.files()
	for _, g := range a.grants {
		a.h.o.Server = g.Server
		for _, seed := range seeds {
			if eek, err := a.h.openGrant(g, seed); err == nil {
				eeks = append(eeks, eek)
			}
		}
	}
	for _, raw := range a.backups {
		b, err := ReadBackup(bytes.NewReader(raw))
		if err == nil && b.Unlock(a.h.o.Custody) == nil && b.eek != nil {
			eeks = append(eeks, b.eek)
		}
	}
	return eeks
}

var (
	keyName  = regexp.MustCompile(`segment/([0-9a-f]{32})/key/([0-9a-f]{16})-([0-9a-f]{32})`)
	itemName = regexp.MustCompile(`segment/([0-9a-f]{32})/item/([0-9a-f]{32})/([0-9a-f]{16})/[0-9a-f]{32}`)
)

func unhex16(s string) (out [16]byte) {
	b, _ := hex.DecodeString(s)
	copy(out[:], b)
	return out
}

// segmentKeys opens every wrapping of a segment key that it can.
func (a *attacker) segmentKeys(eeks []*secret.Bytes) map[[16]byte][]*secret.Bytes {
	out := make(map[[16]byte][]*secret.Bytes)
	for _, e := range a.entries {
		m := keyName.FindStringSubmatch(e.Key)
		if m == nil {
			continue
		}
		number, _ := strconv.ParseUint(m[2], 16, 64)
		at := EpochID{Number: number, ID: unhex16(m[3])}
		for _, eek := range eeks {
			if p, err := unseal(eek, a.h.segmentKeyPlace(unhex16(m[1]), at), e.Value); err == nil {
				out[unhex16(m[1])] = append(out[unhex16(m[1])], secret.Take(p.Expose()[:keySize]))
			}
		}
	}
	return out
}

// reaches reports which of the versions the attacker can compute.
func (a *attacker) reaches(versions ...Version) []bool {
	keys := a.segmentKeys(a.eeks())
	out := make([]bool, len(versions))
	for i, v := range versions {
		for _, e := range a.entries {
			m := itemName.FindStringSubmatch(e.Key)
			if m == nil || unhex16(m[2]) != v.KeyID || m[3] != hex.EncodeToString(binary.BigEndian.AppendUint64(nil, v.Number)) {
				continue
			}
			for _, key := range keys[unhex16(m[1])] {
				item, err := unseal(key, a.h.itemPlace(unhex16(m[1]), &v), e.Value)
				out[i] = out[i] || (err == nil && a.h.checkItem(&v, item) == nil)
			}
		}
		out[i] = out[i] || (a.windows && a.plain(v))
	}
	return out
}

// plain tries every window of every value as the version secret itself.
func (a *attacker) plain(v Version) bool {
	for _, e := range a.entries {
		for i := 0; !v.Stored && i+keySize <= len(e.Value); i++ {
			if a.h.checkItem(&v, secret.Take(slices.Clone(e.Value[i:i+keySize]))) == nil {
				return true
			}
		}
	}
	return false
}
