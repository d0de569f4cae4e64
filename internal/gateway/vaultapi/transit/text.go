// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"

	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/keyserver/keywork"
	"claviger/internal/wire"
)

// prefix stands before ciphertexts, signatures and MACs.
const prefix = "vault:v"

// format is the text form of what a version made.
func format(version uint64, data []byte) string {
	out := make([]byte, 0, len(prefix)+21+base64.StdEncoding.EncodedLen(len(data)))
	out = append(strconv.AppendUint(append(out, prefix...), version, 10), ':')
	return string(base64.StdEncoding.AppendEncode(out, data))
}

// parsed is a text form taken apart: what it is comes first, for the errors.
type parsed struct {
	version uint64
	text    string // what follows the version
}

// parse takes the text form apart. What says what it is for: "ciphertext" or
// "signature".
func parse(what, text string) (p parsed, err error) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return p, call.Bad("invalid " + what + ": no prefix")
	}
	number, data, ok := strings.Cut(rest, ":")
	if !ok || strings.Contains(data, ":") {
		return p, call.Bad("invalid " + what + ": wrong number of fields")
	}
	p.text = data
	// One form for each number: another would be another text for the same.
	if p.version, err = strconv.ParseUint(number, 10, 63); err != nil || p.version == 0 || number[0] == '0' || number[0] == '+' {
		return p, call.Bad("invalid " + what + ": version number could not be decoded")
	}
	return p, nil
}

// ciphertext takes a ciphertext apart.
func ciphertext(text string) (version uint64, data []byte, err error) {
	p, err := parse("ciphertext", text)
	if err != nil {
		return 0, nil, err
	}
	data, err = base64.StdEncoding.Strict().DecodeString(p.text)
	if corrupt := base64.CorruptInputError(0); errors.As(err, &corrupt) {
		return 0, nil, call.Bad("invalid ciphertext: could not decode base64: illegal base64 data at input byte " + strconv.FormatInt(int64(corrupt), 10))
	}
	if len(data) < keywork.RawOverhead {
		return 0, nil, call.Bad("invalid ciphertext length")
	}
	return p.version, data, nil
}

// label of what binds ciphertexts of this package; docs/endpoints/vault.md.
const label = "vault-transit"

// binding is what a ciphertext is bound to besides its key, version and partition.
func binding(associated []byte) []byte {
	sum := wire.Sum(label, associated)
	return sum[:]
}

// maxBatch is how many items a batch has.
const maxBatch = 10_000

// count says how many elements an array has that is known to be valid JSON, before
// any of them takes memory.
func count(array []byte) int {
	depth, quoted, n := 0, false, 0
	for i := 0; i < len(array); i++ {
		switch c := array[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == ',' && depth == 1:
			n++
		}
	}
	return n + 1
}

// typeRow pairs Vault's key types with the domain's algorithms.
type typeRow struct {
	vault, ours  string
	public       string // what Vault calls a public key of it; "" for symmetric ones
	encrypt      bool
	sign, derive bool
}

func types() []typeRow {
	return []typeRow{
		{vault: "aes256-gcm96", ours: "aes256", encrypt: true, derive: true},
		{vault: "ed25519", ours: "ed25519", public: "ed25519", sign: true, derive: true},
		{vault: "ecdsa-p256", ours: "ecdsa-p256", public: "P-256", sign: true},
		{vault: "rsa-2048", ours: "rsa-2048", public: "rsa-2048", sign: true},
		{vault: "rsa-3072", ours: "rsa-3072", public: "rsa-3072", sign: true},
		{vault: "rsa-4096", ours: "rsa-4096", public: "rsa-4096", sign: true},
		{vault: "hmac", ours: "hmac-sha256"},
	}
}

func typeOf(is func(typeRow) bool) (typeRow, bool) {
	rows := types()
	if i := slices.IndexFunc(rows, is); i >= 0 {
		return rows[i], true
	}
	return typeRow{}, false
}

// typeNamed finds Vault's type; "" is its default.
func typeNamed(vault string) (typeRow, error) {
	if vault == "" {
		vault = "aes256-gcm96"
	}
	row, ok := typeOf(func(r typeRow) bool { return r.vault == vault })
	if !ok {
		return row, call.Bad("unknown key type " + short(vault))
	}
	return row, nil
}

// short fits a word that came into an error: names and numbers, nothing longer.
func short(s string) string {
	out := []byte(s[:min(len(s), 32)])
	for i, c := range out {
		if c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			out[i] = '?'
		}
	}
	return string(out)
}
