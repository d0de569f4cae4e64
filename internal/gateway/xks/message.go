// SPDX-License-Identifier: Apache-2.0

package xks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"

	"claviger/internal/gateway"
)

// Limits of what the door takes, in bytes. The specification demands at least
// 4,300 and 8,192.
const (
	maxPlaintext = 8 << 10
	maxAAD       = 16 << 10
	maxText      = 2048 // of a text in the metadata
	maxBody      = 48 << 10
)

// requestMetadata is what KMS says of the request that made it ask.
type requestMetadata struct {
	Principal  string `json:"awsPrincipalArn"`
	SourceVPC  string `json:"awsSourceVpc"`
	SourceVPCE string `json:"awsSourceVpce"`
	KeyARN     string `json:"kmsKeyArn"`
	Operation  string `json:"kmsOperation"`
	RequestID  string `json:"kmsRequestId"`
	ViaService string `json:"kmsViaService"`
}

// message is the body of every request; each operation has its members.
type message struct {
	Metadata    *requestMetadata `json:"requestMetadata"`
	Plaintext   *string          `json:"plaintext"`
	Ciphertext  *string          `json:"ciphertext"`
	CipherMeta  *string          `json:"ciphertextMetadata"`
	IV          *string          `json:"initializationVector"`
	Tag         *string          `json:"authenticationTag"`
	AAD         *string          `json:"additionalAuthenticatedData"`
	Algorithm   *string          `json:"encryptionAlgorithm"`
	IntegrityBy *string          `json:"ciphertextDataIntegrityValueAlgorithm"`
}

// read decodes a body and judges what every operation but health demands.
// Members that aren't known are passed over: later versions of KMS send more.
func read(r *gateway.Request) (*message, error) {
	if err := r.NeedJSON(false); err != nil {
		return nil, err
	}
	var m message
	if err := r.DecodeJSON(&m, true); err != nil {
		return nil, err
	}
	if m.Metadata == nil {
		return nil, invalid("requestMetadata is missing")
	}
	d := m.Metadata
	if d.Operation == "" || d.RequestID == "" {
		return nil, invalid("requestMetadata lacks kmsOperation or kmsRequestId")
	}
	for _, text := range []string{d.Principal, d.SourceVPC, d.SourceVPCE, d.KeyARN, d.Operation, d.RequestID, d.ViaService} {
		if len(text) > maxText {
			return nil, invalid("requestMetadata has a text of more than 2048 bytes")
		}
	}
	r.Note("kmsRequestId", d.RequestID)
	r.Note("kmsOperation", d.Operation)
	return &m, nil
}

// needPrincipal is for the operations on a key.
func (m *message) needPrincipal(r *gateway.Request, keyARN bool) error {
	if m.Metadata.Principal == "" || keyARN && m.Metadata.KeyARN == "" {
		return invalid("requestMetadata lacks awsPrincipalArn or kmsKeyArn")
	}
	r.Note("awsPrincipalArn", m.Metadata.Principal)
	return nil
}

// asked is what policy gets to see of the request.
func (d *requestMetadata) asked() map[string]string {
	out := make(map[string]string, 5)
	for name, text := range map[string]string{
		"kmsOperation": d.Operation, "kmsViaService": d.ViaService, "kmsKeyArn": d.KeyARN, "sourceVpc": d.SourceVPC, "sourceVpce": d.SourceVPCE,
	} {
		if text != "" {
			out[name] = text
		}
	}
	return out
}

// given decodes a member that has to be there.
func given(name string, text *string, most int) ([]byte, error) {
	if text == nil {
		return nil, invalid(name + " is missing")
	}
	return optional(name, text, most)
}

// optional decodes a member that may be absent. What is longer than this door
// supports is another error than what is no Base64.
func optional(name string, text *string, most int) ([]byte, error) {
	if text == nil {
		return nil, nil
	}
	out, err := gateway.Base64(name, *text, maxBody)
	switch {
	case err != nil:
		return nil, invalid(name + " is not standard Base64")
	case len(out) > most:
		return nil, &failure{http.StatusNotImplemented, "UnsupportedOperationException", fmt.Sprintf("%s is longer than %d bytes", name, most)}
	}
	return out, nil
}

// aesGCM demands the one algorithm there is.
func (m *message) aesGCM() error {
	if m.Algorithm == nil || *m.Algorithm != "AES_GCM" {
		return invalid("encryptionAlgorithm is not AES_GCM")
	}
	return nil
}

// answer is one line of JSON.
func answer(v any, secret bool) (*gateway.Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: encode the answer", gateway.ErrInternal)
	}
	return &gateway.Response{Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Secret: secret}, nil
}

// keyIDs are the external key ids that the specification allows.
func keyIDs() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`) }
