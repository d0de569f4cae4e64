// SPDX-License-Identifier: Apache-2.0

package salesforce

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // RSA-OAEP in JOSE is with SHA-1 (RFC 7518, section 4.3); Salesforce takes no other
	"encoding/base64"
	"encoding/json"
	"fmt"

	"claviger/internal/secret"
)

// header is the protected header: these members, in this order, and no other
// (Salesforce refuses any).
type header struct {
	Algorithm  string `json:"alg"`
	Encryption string `json:"enc"`
	KeyID      string `json:"kid"`
	Nonce      string `json:"jti,omitempty"`
}

// encrypt makes the compact JWE of a key (RFC 7516, section 5.1): a fresh content
// key and nonce each time.
func encrypt(to *rsa.PublicKey, h header, key []byte) (string, error) {
	h.Algorithm, h.Encryption = "RSA-OAEP", "A256GCM"
	text, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("encode the header: %w", err)
	}
	protected := base64.RawURLEncoding.EncodeToString(text)
	content := secret.Random(32)
	defer content.Wipe()
	wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, to, content.Expose(), nil)
	if err != nil {
		return "", fmt.Errorf("encrypt the content key: %w", err)
	}
	aead, err := secret.NewAEAD(content)
	if err != nil {
		return "", err
	}
	defer aead.Wipe()
	iv := make([]byte, 12)
	rand.Read(iv)
	sealed := aead.Seal(nil, iv, key, []byte(protected))
	out := protected
	for _, part := range [][]byte{wrapped, iv, sealed[:len(key)], sealed[len(key):]} {
		out += "." + base64.RawURLEncoding.EncodeToString(part)
	}
	return out, nil
}
