// SPDX-License-Identifier: Apache-2.0

package keep

import (
	"bytes"
	"crypto/subtle"
	"path/filepath"
	"slices"

	"claviger/internal/wire"
)

// TypeTokens is the type string of a profile's send tokens.
const TypeTokens = "claviger/v1/client-tokens"

// FileTokens is their file in a profile's directory.
const FileTokens = "send-tokens"

const maxTokens = 1 << 10

// tokens are the send tokens of a domain that a client may have use for.
type tokens struct {
	_      struct{} `cbor:",toarray"`
	Type   string   // TypeTokens
	Newest []byte   // that a server, or the invite, gave; empty without
	Opened []byte   // that last opened a mailbox; empty without
}

func parseTokens(data []byte) (tokens, error) {
	var t tokens
	if err := wire.Unmarshal(data, &t, maxTokens); err != nil {
		return tokens{}, err
	}
	if t.Type != TypeTokens || len(t.Newest) > wire.SendTokenSize || len(t.Opened) > wire.SendTokenSize {
		return tokens{}, wire.ErrMalformed
	}
	return t, nil
}

// readTokens reads what is kept. A file that is not there or not right is as good
// as none: the next server gives another token.
func (k *Dir) readTokens() tokens {
	data, err := ReadFile(filepath.Join(k.dir, FileTokens), maxTokens)
	if err == nil {
		if t, err := parseTokens(data); err == nil {
			return t
		}
	}
	return tokens{Type: TypeTokens}
}

// Tokens are the send tokens to show at a relay or directory, one after the other:
// the newest, then the one that last opened a mailbox. The second is there because
// a single server can give out one that is of no use.
func (k *Dir) Tokens() [][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tokens == nil {
		t := k.readTokens()
		k.tokens = &t
	}
	var out [][]byte
	for _, t := range [][]byte{k.tokens.Newest, k.tokens.Opened} {
		if len(t) == wire.SendTokenSize && !slices.ContainsFunc(out, func(o []byte) bool { return subtle.ConstantTimeCompare(o, t) == 1 }) {
			out = append(out, bytes.Clone(t))
		}
	}
	return out
}

// SaveToken keeps a token that a server or the invite gave. One of another size is
// none. What can't be written is remembered as long as the process runs.
func (k *Dir) SaveToken(token []byte) {
	if len(token) == wire.SendTokenSize {
		k.changeTokens(func(t *tokens) *[]byte { return &t.Newest }, token)
	}
}

// Opened notes that a token has opened a mailbox.
func (k *Dir) Opened(token []byte) {
	k.changeTokens(func(t *tokens) *[]byte { return &t.Opened }, token)
}

// changeTokens sets one field, here and in the file.
func (k *Dir) changeTokens(field func(*tokens) *[]byte, token []byte) {
	k.Tokens() // reads them
	k.mu.Lock()
	defer k.mu.Unlock()
	if subtle.ConstantTimeCompare(*field(k.tokens), token) == 1 {
		return
	}
	*field(k.tokens) = bytes.Clone(token)
	_ = Locked(k.dir, func() error {
		t := k.readTokens()
		*field(&t) = token
		return WriteFile(filepath.Join(k.dir, FileTokens), wire.Marshal(t))
	})
}
