// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
)

// This file is a second implementation of docs/spec/envelope.md, written from
// that page with the standard library alone; it shares no code with the package.
// It opens, and returns the name of the result as the page has it.

const (
	specOK        = "ok"
	specFormat    = "format"
	specNoKey     = "no-key"
	specIntegrity = "integrity"
)

// specLeaf is what a reader has.
type specLeaf struct {
	domain, key []byte
	version     uint64
	partition   []byte
	leaf        []byte
}

func specExpand(key []byte, info string, n int) []byte {
	out, err := hkdf.Expand(sha512.New, key, info, n)
	if err != nil {
		panic(err)
	}
	return out
}

func specInfo(label string, domain []byte) string {
	l := "claviger/v1/" + label
	return string([]byte{byte(len(l))}) + l + string(domain)
}

func specH(label string, parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range append([][]byte{[]byte("claviger/v1/" + label)}, parts...) {
		binary.Write(h, binary.BigEndian, uint64(len(p)))
		h.Write(p)
	}
	return h.Sum(nil)
}

// specCobblestone opens a chunked-encryption message.
func specCobblestone(key, context, message []byte) ([]byte, bool) {
	if len(message) < 56 {
		return nil, false
	}
	salt, commitment, chunks := message[:24], message[24:56], message[56:]
	derived := specExpand(key, "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"+string(salt)+string(context), 76)
	if !hmac.Equal(derived[44:], commitment) {
		return nil, false
	}
	block, err := aes.NewCipher(derived[:32])
	if err != nil {
		panic(err)
	}
	var gcm cipher.AEAD
	fips140.WithoutEnforcement(func() { gcm, err = cipher.NewGCM(block) }) // the format sets the nonces
	if err != nil {
		panic(err)
	}
	plain := []byte{}
	for i := uint64(0); ; i++ {
		n := min(16400, len(chunks))
		nonce := bytes.Clone(derived[32:44])
		for j := range 8 {
			nonce[11-j] ^= byte(i >> (8 * j))
		}
		out, err := gcm.Open(nil, nonce, chunks[:n], nil)
		if err != nil {
			return nil, false
		}
		plain, chunks = append(plain, out...), chunks[n:]
		if n < 16400 {
			return plain, true
		}
	}
}

// specIDs is the beginning of a slot or field that both have in common.
type specIDs struct {
	flags                   byte
	key, version, partition []byte
	rest                    []byte
}

func specReadIDs(b []byte) (ids specIDs, result string) {
	if len(b) > 0 && b[0] > 1 {
		return ids, specFormat
	}
	if len(b) < 27 {
		return ids, specIntegrity
	}
	n := int(b[25])<<8 | int(b[26])
	ids = specIDs{flags: b[0], key: b[1:17], version: b[17:25]}
	if n > 256 || len(b) < 27+n || (ids.flags == 1 && n != 0) || bytes.Equal(ids.version, make([]byte, 8)) {
		return ids, specIntegrity
	}
	ids.partition, ids.rest = b[27:27+n], b[27+n:]
	return ids, specOK
}

func (l specLeaf) fits(ids specIDs, hidden bool) bool {
	return hidden == (ids.flags == 1) && bytes.Equal(l.key, ids.key) && l.version == binary.BigEndian.Uint64(ids.version) &&
		(hidden || bytes.Equal(l.partition, ids.partition))
}

func specHeader(object []byte) (slots []specIDs, header []byte, result string) {
	if len(object) < 11 || string(object[:8]) != "\xcb\x43\x4c\x56\x47\x0d\x0a\x1a" || object[8] != 1 || object[9] != 1 || object[10] != 0 {
		return nil, nil, specFormat
	}
	if len(object) < 14 {
		return nil, nil, specIntegrity
	}
	n, s := int(object[11]), int(object[12])<<8|int(object[13])
	if n < 1 || n > 32 || s < n*131 || s > n*387 || len(object) < 14+s+32 {
		return nil, nil, specIntegrity
	}
	rest := object[14 : 14+s]
	seen := map[string]bool{}
	for range n {
		ids, result := specReadIDs(rest)
		if result != specOK {
			return nil, nil, result
		}
		seen[string(rest[:27+len(ids.partition)])] = true
		if len(ids.rest) < 104 {
			return nil, nil, specIntegrity
		}
		ids.rest, rest = ids.rest[:104], ids.rest[104:]
		slots = append(slots, ids)
	}
	if len(rest) != 0 || len(seen) != n {
		return nil, nil, specIntegrity
	}
	return slots, object[:14+s+32], specOK
}

func specOpenObject(l specLeaf, context, object []byte) (plain, dek []byte, result string) {
	slots, header, result := specHeader(object)
	if result != specOK {
		return nil, nil, result
	}
	var slot *specIDs
	for _, hidden := range []bool{false, true} {
		for i := range slots {
			if slot == nil && l.fits(slots[i], hidden) {
				slot = &slots[i]
			}
		}
	}
	if slot == nil {
		return nil, nil, specNoKey
	}
	slotKey := specExpand(l.leaf, specInfo("slot", l.domain), 32)
	slotContext := specH("slot", l.domain, slot.key, slot.version, []byte{slot.flags}, l.partition)
	dek, ok := specCobblestone(slotKey, slotContext, slot.rest)
	if !ok || len(dek) != 32 {
		return nil, nil, specIntegrity
	}
	mac := hmac.New(sha512.New, specExpand(dek, specInfo("header", l.domain), 32))
	mac.Write(header[:len(header)-32])
	if !hmac.Equal(mac.Sum(nil)[:32], header[len(header)-32:]) {
		return nil, nil, specIntegrity
	}
	plain, ok = specCobblestone(dek, specH("body", []byte{1}, context), object[len(header):])
	if !ok {
		return nil, nil, specIntegrity
	}
	return plain, dek, specOK
}

func specOpenField(l specLeaf, context, field []byte) (plain []byte, result string) {
	if len(field) < 2 || field[0] != 0xcf || field[1] != 1 {
		return nil, specFormat
	}
	ids, result := specReadIDs(field[2:])
	if result != specOK {
		return nil, result
	}
	if len(ids.rest) < 72 || len(ids.rest)-72 > 16383 {
		return nil, specIntegrity
	}
	if !l.fits(ids, false) && !l.fits(ids, true) {
		return nil, specNoKey
	}
	fieldKey := specExpand(l.leaf, specInfo("field", l.domain), 32)
	fieldContext := specH("field", l.domain, ids.key, ids.version, []byte{ids.flags}, l.partition, context)
	plain, ok := specCobblestone(fieldKey, fieldContext, ids.rest)
	if !ok {
		return nil, specIntegrity
	}
	return plain, specOK
}
