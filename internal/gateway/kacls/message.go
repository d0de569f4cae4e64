// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"encoding/base64"
	"fmt"
	"strings"

	"claviger/internal/gateway"
)

// Bounds of members, in bytes: the protocol's own.
const (
	maxName       = 128 // a resource's, a perimeter's
	maxReason     = 1 << 10
	maxKey        = 128
	maxWrapped    = 1 << 10
	maxDigest     = 128
	maxEncrypted  = 1 << 10
	maxPrivate    = 8 << 10 // a wrapped private key, in Base64
	maxPrivatePEM = 8 << 10
)

// message is the body of every operation; each takes some of it.
type message struct {
	Authentication string `json:"authentication"`
	Authorization  string `json:"authorization"`
	Reason         string `json:"reason"`

	Key        string `json:"key"`
	Wrapped    string `json:"wrapped_key"`
	Resource   string `json:"resource_name"`
	Perimeter  string `json:"perimeter_id"`
	Original   string `json:"original_kacls_url"`
	PrivateKey string `json:"private_key"`

	WrappedPrivate string  `json:"wrapped_private_key"`
	Algorithm      string  `json:"algorithm"`
	Digest         string  `json:"digest"`
	Salt           *int    `json:"rsa_pss_salt_length"`
	Encrypted      string  `json:"encrypted_data_encryption_key"`
	Label          *string `json:"rsa_oaep_label"`
	SPKIHash       string  `json:"spki_hash"`
	SPKIAlgorithm  string  `json:"spki_hash_algorithm"`
}

// asked is a request that was read.
type asked struct {
	*gateway.Request
	*message
}

// read reads a request that may be looked at.
func (d *door) read(r *gateway.Request) (*asked, error) {
	// Security: a page of another origin gets nothing done, though a browser would
	// keep the answer from it (T-95).
	if _, ok := d.origin(r.Request); !ok {
		return nil, errOrigin()
	}
	if err := r.NeedJSON(true); err != nil {
		return nil, err
	}
	m := new(message)
	if err := r.DecodeJSON(m, true); err != nil {
		return nil, err
	}
	if len(m.Reason) > maxReason {
		return nil, invalid("reason is longer than 1 KB")
	}
	r.Note("reason", m.Reason)
	return &asked{r, m}, nil
}

// binary is a member that has to be there, in Base64.
func binary(name, text string, most int) ([]byte, error) {
	out, err := gateway.Base64(name, text, most)
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%w: %s is empty", gateway.ErrBody, name)
	}
	return out, err
}

// unpadded is one that comes with or without padding.
func unpadded(name, text string, most int) ([]byte, error) {
	bare := strings.TrimRight(text, "=")
	if padded := bare + strings.Repeat("=", (4-len(bare)%4)%4); len(bare) == len(text) {
		text = padded
	}
	return binary(name, text, most)
}

// named is a resource's or perimeter's name that may be.
func named(text string, empty bool) bool { return len(text) <= maxName && (empty || text != "") }

func encode(p []byte) string { return base64.StdEncoding.EncodeToString(p) }
