// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"claviger/internal/wire"
)

// vectors is testdata/vectors.json: what another implementation is checked
// against, and what holds this one to its own past.
type vectors struct {
	Messages []messageVector `json:"messages"`
	Hashes   []hashVector    `json:"hashes"`
	Signed   []signedVector  `json:"signed"`
}

type messageVector struct {
	Name     string `json:"name"`
	Encoding string `json:"encoding"`
}

type hashVector struct {
	Name string `json:"name"`
	Hash string `json:"hash"`
}

// signedVector is a COSE_Sign message of an Ed25519 key, whose signatures are
// the same each time.
type signedVector struct {
	Type    string `json:"type"`
	Seed    string `json:"seed"`
	Payload string `json:"payload"`
	Message string `json:"message"`
}

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorFile = "testdata/vectors.json"

func computed(t *testing.T) vectors {
	t.Helper()
	var v vectors
	for _, s := range samples() {
		v.Messages = append(v.Messages, messageVector{s.name, hex.EncodeToString(wire.Marshal(s.value))})
	}
	key := fixedKey("server")
	record := sampleNamed("record").value.(*wire.Record)
	server := wire.ServerIDOf(key.Public())
	v.Hashes = append(hashes(record.Link),
		hashVector{"key id of the signed message's key", wire.KeyHash(key.Public()).String()}, hashVector{"server id of it", server.String()})
	payload := wire.Marshal(sampleNamed("statement").value)
	msg, err := wire.Sign(wire.TypeStatement, payload, key)
	if err != nil {
		t.Fatal(err)
	}
	v.Signed = []signedVector{{wire.TypeStatement, hex.EncodeToString(key.Seed()), hex.EncodeToString(payload), hex.EncodeToString(msg)}}
	return v
}

func hashes(link wire.Link) []hashVector {
	return []hashVector{
		{"Sum(x)", wire.Sum("x").String()},
		{"Sum(x, a, empty)", wire.Sum("x", []byte("a"), nil).String()},
		{"BodyHash(body)", wire.BodyHash([]byte("body")).String()},
		{"EntryHash(entry)", wire.EntryHash([]byte("entry")).String()},
		{"hash of the record's link", link.Hash().String()},
		{"SealedHash(sealed)", wire.SealedHash([]byte("sealed")).String()},
		{"DescriptorHash(signed)", wire.DescriptorHash([]byte("signed")).String()},
		{"HPKEHash(key)", wire.HPKEHash([]byte("key")).String()},
		{"ReleaseInfo(SealedHash(sealed))", wire.ReleaseInfo(wire.SealedHash([]byte("sealed"))).String()},
		{"BodyDigest(empty)", wire.BodyDigest(nil).String()},
	}
}

// TestVectors compares with the file. With -update it writes the file
// instead and fails: a changed vector is a changed protocol.
func TestVectors(t *testing.T) {
	want := computed(t)
	data, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, '\n')
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, data, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Fatalf("wrote %s; run again without -update", vectorFile)
	}
	have, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != string(data) {
		t.Errorf("%s differs from what this code makes", vectorFile)
	}
}

// TestVectorsAreRead goes the other way: from the file's bytes to messages.
func TestVectorsAreRead(t *testing.T) {
	data, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Messages) != len(samples()) || len(v.Signed) == 0 {
		t.Fatal("vectors are missing")
	}
	for _, m := range v.Messages {
		raw, err := hex.DecodeString(m.Encoding)
		if err != nil {
			t.Fatal(err)
		}
		s := sampleNamed(m.Name)
		if got, err := s.again(raw); err != nil || !equal(got, s.value) {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	for _, s := range v.Signed {
		raw, err := hex.DecodeString(s.Message)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wire.ParseStatement(raw, fixedKey("server").Public()); err != nil {
			t.Errorf("signed %s: %v", s.Type, err)
		}
	}
}
