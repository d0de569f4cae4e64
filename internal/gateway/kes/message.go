// SPDX-License-Identifier: Apache-2.0

package kes

import (
	"fmt"

	"claviger/internal/gateway"
)

// The bodies of requests. Byte strings are standard Base64. What a client leaves
// out is empty.
type (
	generateRequest struct {
		Context []byte
		Version string
	}
	encryptRequest struct {
		Plaintext, Context []byte
		Version            string
	}
	decryptRequest struct {
		Ciphertext, Context []byte
		Version             string
	}
	hmacRequest   struct{ Message []byte }
	importRequest struct{ Cipher string }
)

// members are those of all requests; each takes some of them.
type members struct {
	Plaintext  *string `json:"plaintext"`
	Ciphertext *string `json:"ciphertext"`
	Context    *string `json:"context"`
	Message    *string `json:"message"`
	Version    *string `json:"version"`
	Key        *string `json:"key"`
	Cipher     *string `json:"cipher"`
}

// read decodes a body and reads the members that it may have; needed names those
// that it must have.
func read(r *gateway.Request, m *members) error {
	return r.DecodeJSON(m, true) // clients may grow members
}

// bytesOf reads a byte string; a missing one is nil.
func bytesOf(what string, text *string, most int, needed bool) ([]byte, error) {
	if text == nil {
		if needed {
			return nil, fmt.Errorf("%w: %s is missing", gateway.ErrBody, what)
		}
		return nil, nil
	}
	return gateway.Base64(what, *text, most)
}

// versionOf reads a version's name: short, and otherwise any text.
func versionOf(text *string) (string, error) {
	if text == nil {
		return "", nil
	}
	if len(*text) > 32 {
		return "", fmt.Errorf("%w: the version's name is too long", gateway.ErrBody)
	}
	return *text, nil
}

// parseGenerate takes no body for an empty one.
func parseGenerate(r *gateway.Request) (out generateRequest, err error) {
	if len(r.Body) == 0 {
		return out, nil
	}
	var m members
	if err = read(r, &m); err != nil {
		return out, err
	}
	if out.Context, err = bytesOf("context", m.Context, maxContext, false); err != nil {
		return out, err
	}
	out.Version, err = versionOf(m.Version)
	return out, err
}

func parseEncrypt(r *gateway.Request) (out encryptRequest, err error) {
	var m members
	if err = read(r, &m); err != nil {
		return out, err
	}
	if out.Context, err = bytesOf("context", m.Context, maxContext, false); err != nil {
		return out, err
	}
	if out.Version, err = versionOf(m.Version); err != nil {
		return out, err
	}
	out.Plaintext, err = bytesOf("plaintext", m.Plaintext, maxBody, true)
	return out, err
}

func parseDecrypt(r *gateway.Request) (out decryptRequest, err error) {
	var m members
	if err = read(r, &m); err != nil {
		return out, err
	}
	if out.Context, err = bytesOf("context", m.Context, maxContext, false); err != nil {
		return out, err
	}
	if out.Version, err = versionOf(m.Version); err != nil {
		return out, err
	}
	out.Ciphertext, err = bytesOf("ciphertext", m.Ciphertext, maxBody, true)
	return out, err
}

func parseHMAC(r *gateway.Request) (out hmacRequest, err error) {
	var m members
	if err = read(r, &m); err != nil {
		return out, err
	}
	out.Message, err = bytesOf("message", m.Message, maxBody, true)
	return out, err
}

// parseImport reads no key: none is taken.
func parseImport(r *gateway.Request) (out importRequest, err error) {
	var m members
	if err = read(r, &m); err != nil {
		return out, err
	}
	if m.Key == nil || m.Cipher == nil {
		return out, fmt.Errorf("%w: key or cipher is missing", gateway.ErrBody)
	}
	out.Cipher = *m.Cipher
	return out, nil
}
