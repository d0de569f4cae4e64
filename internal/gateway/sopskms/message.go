// SPDX-License-Identifier: Apache-2.0

package sopskms

import (
	"encoding/base64"
	"fmt"
	"strings"

	"claviger/internal/gateway/localrpc"
	"claviger/internal/wire"
)

// Limits.
const (
	MaxMessage    = 64 << 10
	maxPlaintext  = 1 << 10
	maxCiphertext = 4 << 10 // of text
)

const (
	scheme = "claviger://"
	// noFolder stands for the folder of a key that is in none: sops wants something there.
	noFolder = "."
	// text begins what Encrypt gives.
	text = "claviger:"
)

// URI is how a key is written in a .sops.yaml or on sops's command line.
func URI(key string) string {
	folder, name := noFolder, key
	if at := strings.LastIndexByte(key, '/'); at >= 0 {
		folder, name = key[:at], key[at+1:]
	}
	return scheme + "local/v1/" + folder + "/keys/" + name
}

// request is what both methods are asked: a key, and what is to be done with it.
type request struct {
	key  string // path name
	data []byte // plaintext, or ciphertext
}

// kinds are sops's kinds of keys, by their fields in its message.
func kinds() map[int]string {
	return map[int]string{1: "AWS KMS", 2: "PGP", 3: "GCP KMS", 4: "Azure Key Vault", 6: "age", 7: "Huawei Cloud KMS"}
}

func read(message []byte) (r request, err error) {
	var key []byte
	if err := localrpc.Decode(message, map[int]localrpc.Field{1: localrpc.Bytes(&key), 2: localrpc.Bytes(&r.data)}); err != nil {
		return r, err
	}
	var given int
	var vault []byte
	other := ""
	fields := map[int]localrpc.Field{5: {Take: func(v []byte) error {
		given, vault = given+1, v
		return nil
	}}}
	for number, name := range kinds() {
		fields[number] = localrpc.Field{Take: func([]byte) error {
			given, other = given+1, name
			return nil
		}}
	}
	if err := localrpc.Decode(key, fields); err != nil {
		return r, err
	}
	switch {
	case given == 1 && other != "":
		return r, localrpc.Errorf(localrpc.NotOffered, "this key service knows no %s keys, only %slocal/v1/FOLDER/keys/NAME", other, scheme)
	case given != 1:
		return r, fmt.Errorf("%w: it names %d keys", localrpc.ErrMessage, given)
	}
	r.key, err = keyOf(vault)
	return r, err
}

// keyOf finds the name of our key in one of the Vault kind.
//
// Security: an address that is a Vault's is none of ours, whatever the key is called.
func keyOf(message []byte) (string, error) {
	var address, folder, name string
	err := localrpc.Decode(message, map[int]localrpc.Field{1: localrpc.String(&address), 2: localrpc.String(&folder), 3: localrpc.String(&name)})
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(address, scheme) {
		return "", localrpc.Errorf(localrpc.NotOffered, "this is a key of Vault; those of this key service begin with %s", scheme)
	}
	if folder != noFolder {
		name = folder + "/" + name
	}
	if !wire.ValidKeyName(name) {
		return "", localrpc.Errorf(localrpc.InvalidArgument, "this names no key: want %slocal/v1/FOLDER/keys/NAME", scheme)
	}
	return name, nil
}

// write is a ciphertext as it stands in a file.
func write(field []byte) []byte {
	return base64.RawStdEncoding.AppendEncode([]byte(text), field)
}

// readText is the reverse. There is one way to write each.
func readText(data []byte) ([]byte, error) {
	rest, ok := strings.CutPrefix(string(data), text)
	if !ok || len(data) > maxCiphertext {
		return nil, localrpc.Errorf(localrpc.InvalidArgument, "the encrypted data key is none of this key service's")
	}
	field, err := base64.RawStdEncoding.Strict().DecodeString(rest)
	if err != nil || strings.ContainsAny(rest, "\r\n") {
		return nil, localrpc.Errorf(localrpc.InvalidArgument, "the encrypted data key is malformed")
	}
	return field, nil
}
