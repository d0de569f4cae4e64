// SPDX-License-Identifier: Apache-2.0

package cobblestone

import (
	"bytes"
	"compress/zlib"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"testing"

	"github.com/c2sp/wycheproof"

	"claviger/internal/secret"
)

type vectorFile struct {
	TestGroups []struct {
		AEAD  string `json:"aead"`
		SHA   string `json:"sha"`
		Tests []vector
	}
}

type vector struct {
	TcID      int
	Comment   string
	Flags     []string
	Key       string
	Ctx       string
	Ct        string
	MsgLength int64
	MsgSha512 string
	Result    string
}

func (v vector) has(flag string) bool { return slices.Contains(v.Flags, flag) }

// TestWycheproof applies every published Cobblestone-256 vector, at once, chunk
// by chunk, and by its final chunk alone.
func TestWycheproof(t *testing.T) {
	raw, err := wycheproof.TestVectors.Open("c2sp_chunked_encryption_aes_256_gcm_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file vectorFile
	if err := json.NewDecoder(raw).Decode(&file); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, g := range file.TestGroups {
		if g.AEAD != "AEAD_AES_256_GCM" || g.SHA != "SHA-512" {
			t.Errorf("group uses %s with %s", g.AEAD, g.SHA)
		}
		for _, v := range g.Tests {
			count++
			t.Run(v.Comment, func(t *testing.T) { applyVector(t, v) })
		}
	}
	if count < 35 {
		t.Errorf("only %d vectors found", count)
	}
}

func applyVector(t *testing.T, v vector) {
	input := secret.Take(unhex(t, v.Key))
	defer input.Wipe()
	key, err := NewKey(input)
	if v.has("InvalidKeySize") {
		if err == nil {
			t.Fatal("key of a wrong size accepted")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer key.Wipe()
	ct, context := inflate(t, unhex(t, v.Ct)), unhex(t, v.Ctx)
	valid := v.Result == "valid"

	plain, err := key.Open(nil, ct, context)
	if valid != (err == nil) {
		t.Errorf("Open: %v for a vector that is %s", err, v.Result)
	}
	if err != nil && plain != nil {
		t.Error("plaintext given out with an error")
	}
	if valid {
		checkMessage(t, v, plain)
		checkSeal(t, key, ct, context, plain)
	}
	prefix, err := openByChunk(key, ct, context)
	if valid != (err == nil) {
		t.Errorf("chunk by chunk: %v for a vector that is %s", err, v.Result)
	}
	if valid || v.has("PartialPlaintext") {
		checkMessage(t, v, prefix)
	} else if len(prefix) > 0 {
		t.Errorf("%d bytes came out before the error, want none", len(prefix))
	}
	if err := openFinal(key, ct, context); err == nil && !valid && !v.has("ValidFinalChunk") {
		t.Error("length of an invalid message was taken as authentic")
	} else if err != nil && valid {
		t.Errorf("final chunk: %v", err)
	}
}

// checkSeal seals again with the vector's salt: the result has to be the
// vector's ciphertext.
func checkSeal(t *testing.T, key *Key, ct, context, plain []byte) {
	t.Helper()
	m := key.withSalt(ct[:saltSize], context)
	defer m.Wipe()
	got, err := m.SealRun(m.Prefix(), 0, plain, true)
	if err != nil || !bytes.Equal(got, ct) {
		t.Errorf("sealing again differs (%v)", err)
	}
	if n, err := SealedSize(int64(len(plain))); err != nil || n != int64(len(ct)) {
		t.Errorf("SealedSize = %d, %v, want %d", n, err, len(ct))
	}
	if n, err := PlainSize(int64(len(ct))); err != nil || n != int64(len(plain)) {
		t.Errorf("PlainSize = %d, %v, want %d", n, err, len(plain))
	}
}

// withSalt is New with a salt from outside, which no other code can have.
func (k *Key) withSalt(salt, context []byte) *Message {
	m := &Message{}
	copy(m.prefix[:saltSize], salt)
	k.derive(m, context)
	return m
}

// openByChunk reads as a stream reader does: a whole chunk is given out, the
// end must be a short one.
func openByChunk(key *Key, ct, context []byte) ([]byte, error) {
	if len(ct) < PrefixSize {
		return nil, ErrMessage
	}
	m, err := key.Parse(ct[:PrefixSize], context)
	if err != nil {
		return nil, err
	}
	defer m.Wipe()
	var out []byte
	rest := ct[PrefixSize:]
	for i := int64(0); ; i++ {
		n := min(SealedChunkSize, len(rest))
		next, err := m.OpenRun(out, i, rest[:n], n < SealedChunkSize)
		if err != nil {
			return out, err
		}
		out, rest = next, rest[n:]
		if n < SealedChunkSize {
			return out, nil
		}
	}
}

// openFinal authenticates the length as a random reader does.
func openFinal(key *Key, ct, context []byte) error {
	plain, err := PlainSize(int64(len(ct)))
	if err != nil {
		return err
	}
	m, err := key.Parse(ct[:PrefixSize], context)
	if err != nil {
		return err
	}
	defer m.Wipe()
	_, err = m.OpenRun(nil, plain/ChunkSize, ct[Offset(plain/ChunkSize):], true)
	return err
}

func checkMessage(t *testing.T, v vector, plain []byte) {
	t.Helper()
	sum := sha512.Sum512(plain)
	if int64(len(plain)) != v.MsgLength || (v.MsgSha512 != "" && hex.EncodeToString(sum[:]) != v.MsgSha512) {
		t.Errorf("got %d bytes of plaintext, want the %d of the vector", len(plain), v.MsgLength)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func inflate(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
