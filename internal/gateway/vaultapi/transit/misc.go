// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"hash"
	"strconv"

	"claviger/internal/gateway/vaultapi/call"
)

// maxRandom is how many random bytes one request gets.
const maxRandom = 128 << 10

// hashOf makes Vault's hash functions by their names there; nil for another name.
func hashOf(name string) hash.Hash {
	switch name {
	case "sha2-224":
		return sha256.New224()
	case "sha2-256":
		return sha256.New()
	case "sha2-384":
		return sha512.New384()
	case "sha2-512":
		return sha512.New()
	case "sha3-224":
		return sha3.New224()
	case "sha3-256":
		return sha3.New256()
	case "sha3-384":
		return sha3.New384()
	case "sha3-512":
		return sha3.New512()
	}
	return nil
}

func hashNamed(name string) bool { return hashOf(name) != nil }

// inForm writes bytes as hex or Base64.
func inForm(form string, data []byte) (string, error) {
	switch form {
	case "hex":
		return hex.EncodeToString(data), nil
	case "base64":
		return base64.StdEncoding.EncodeToString(data), nil
	}
	return "", call.Bad("unsupported encoding format " + short(form) + `; must be "hex" or "base64"`)
}

// random gives random bytes of this server; every source is the same one.
func (m *Mount) random(_ context.Context, c *call.Call) (*call.Reply, error) {
	r := struct {
		Bytes  call.Int `json:"bytes"`
		Format string   `json:"format"`
		Source string   `json:"source"`
	}{Format: "base64"}
	if err := c.Decode(&r); err != nil {
		return nil, err
	}
	source, number := c.PathValue("source"), c.PathValue("bytes")
	if _, err := strconv.Atoi(source); err == nil && number == "" { // random/32
		source, number = "", source
	}
	n := int64(32)
	if r.Bytes.Set {
		n = r.Bytes.Value
	}
	if number != "" {
		var err error
		if n, err = strconv.ParseInt(number, 10, 32); err != nil {
			return nil, call.Bad("error parsing url-set byte count")
		}
	}
	switch s := cmp.Or(source, r.Source, "platform"); {
	case s != "platform" && s != "seal" && s != "all":
		return nil, call.Bad("unsupported entropy source " + short(s))
	case n < 1:
		return nil, call.Bad(`"bytes" cannot be less than 1`)
	case n > maxRandom:
		return nil, call.Badf(`"bytes" should be less than %d`, maxRandom)
	}
	data := make([]byte, n)
	rand.Read(data)
	text, err := inForm(r.Format, data)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(map[string]string{"random_bytes": text})
	return &call.Reply{Raw: raw, Secret: true}, err
}

func (m *Mount) hash(_ context.Context, c *call.Call) (*call.Reply, error) {
	r := struct {
		Input     call.Bytes `json:"input"`
		Algorithm string     `json:"algorithm"`
		Format    string     `json:"format"`
	}{Format: "hex"}
	if err := c.Decode(&r); err != nil {
		return nil, err
	}
	defer r.Input.Wipe()
	name := cmp.Or(c.PathValue("algorithm"), r.Algorithm, "sha2-256")
	h := hashOf(name)
	switch {
	case h == nil:
		return nil, call.Bad("unsupported algorithm " + short(name))
	case !r.Input.Set:
		return nil, call.Bad("missing input")
	case r.Input.Fault != nil:
		return nil, call.Bad("unable to decode input as base64: " + r.Input.Fault.Error())
	}
	h.Write(r.Input.Value)
	sum, err := inForm(r.Format, h.Sum(nil))
	if err != nil {
		return nil, err
	}
	return &call.Reply{Data: map[string]string{"sum": sum}}, nil
}
