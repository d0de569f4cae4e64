// SPDX-License-Identifier: Apache-2.0

package xks

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"claviger/internal/authn/sigv4"
	"claviger/internal/gateway"
	"claviger/internal/secret"
)

// prober acts as KMS.
type prober struct {
	target gateway.ProbeTarget
	client *http.Client
	signer sigv4.Signer
}

// probe takes the steps of KMS: health, the key's metadata, an encryption with
// integrity value, its decryption, and what must not work.
func probe(ctx context.Context, target gateway.ProbeTarget) []gateway.Check {
	if target.Secret == nil {
		return []gateway.Check{{Name: "credential", Err: errors.New("a live credential is needed to act as KMS")}}
	}
	client, done := target.Client(target.Cert)
	defer done()
	p := &prober{target: target, client: client, signer: sigv4.Signer{
		ID: target.Secret.Credential.ID, Secret: target.Secret.Material, Region: regionOf(target.Site), Service: service,
	}}
	return p.run(ctx)
}

func regionOf(site gateway.Site) string {
	if region := site.Option(optionRegion); region != "" {
		return region
	}
	return "eu-central-1"
}

func (p *prober) run(ctx context.Context) []gateway.Check {
	plaintext := make([]byte, 32)
	rand.Read(plaintext)
	defer secret.Wipe(plaintext)
	var made struct {
		Ciphertext []byte `json:"ciphertext"`
		IV         []byte `json:"initializationVector"`
		Tag        []byte `json:"authenticationTag"`
		Metadata   []byte `json:"ciphertextMetadata"`
		Integrity  string `json:"ciphertextDataIntegrityValue"`
	}
	aad := []byte("project=probe")
	key := "/keys/" + p.target.Key
	steps := []step{
		{"health", "/health", "KmsHealthCheck", nil, func(body []byte) (string, error) {
			var out struct {
				Fleet []struct {
					Health string `json:"healthStatus"`
				} `json:"ekmFleetDetails"`
			}
			if err := json.Unmarshal(body, &out); err != nil || len(out.Fleet) == 0 {
				return "", errors.New("no fleet in the answer")
			}
			return out.Fleet[0].Health, nil
		}},
		{"metadata", key + "/metadata", "CreateKey", nil, func(body []byte) (string, error) {
			var out struct {
				Usage  []string `json:"keyUsage"`
				Status string   `json:"keyStatus"`
			}
			err := json.Unmarshal(body, &out)
			return fmt.Sprint(out.Status, " ", out.Usage), err
		}},
		{"encrypt", key + "/encrypt", "Encrypt", map[string]any{
			"plaintext": plaintext, "additionalAuthenticatedData": aad, "ciphertextDataIntegrityValueAlgorithm": "SHA_256",
		}, func(body []byte) (string, error) {
			if err := json.Unmarshal(body, &made); err != nil {
				return "", err
			}
			if got := (sealed{made.Ciphertext, made.IV, made.Tag, made.Metadata}); got.integrity(aad) != made.Integrity {
				return "", errors.New("the integrity value is wrong")
			}
			return fmt.Sprintf("%d bytes, integrity value right", len(made.Ciphertext)), nil
		}},
	}
	var out []gateway.Check
	for _, s := range steps {
		if p.target.Key == "" && s.name != "health" {
			continue
		}
		check := p.try(ctx, s)
		if out = append(out, check); check.Err != nil {
			return out
		}
	}
	if p.target.Key == "" {
		return out
	}
	back := map[string]any{
		"ciphertext": made.Ciphertext, "initializationVector": made.IV, "authenticationTag": made.Tag, "ciphertextMetadata": made.Metadata,
		"additionalAuthenticatedData": aad,
	}
	out = append(out, p.try(ctx, step{"decrypt", key + "/decrypt", "Decrypt", back, func(body []byte) (string, error) {
		var opened struct {
			Plaintext []byte `json:"plaintext"`
		}
		defer func() { secret.Wipe(opened.Plaintext) }()
		if err := json.Unmarshal(body, &opened); err != nil || !bytes.Equal(opened.Plaintext, plaintext) {
			return "", errors.New("not what was encrypted")
		}
		return "the same plaintext", nil
	}}))
	made.Metadata[len(made.Metadata)-1] ^= 1
	changed := p.try(ctx, step{"changed metadata", key + "/decrypt", "Decrypt", back, nil})
	changed.Note, changed.Err = refusedAs("InvalidCiphertextException", changed)
	p.signer.ID = "AAAAAAAAAAAAAAAAAAAA"
	stranger := p.try(ctx, step{"unknown credential", "/health", "KmsHealthCheck", nil, nil})
	stranger.Note, stranger.Err = refusedAs("AuthenticationFailedException", stranger)
	return append(out, changed, stranger)
}

// refusedAs turns a step that has to fail around.
func refusedAs(name string, c gateway.Check) (note string, err error) {
	if f, ok := errors.AsType[*failure](c.Err); ok && f.name == name {
		return "refused: " + name, nil
	}
	return "", fmt.Errorf("it was not refused as %s: %w", name, c.Err)
}

// step is one request of a probe.
type step struct {
	name, path, operation string
	members               map[string]any
	judge                 func(body []byte) (note string, err error)
}

func (p *prober) try(ctx context.Context, s step) gateway.Check {
	return gateway.Step(s.name, func() (string, error) {
		body, err := p.send(ctx, s)
		if err != nil || s.judge == nil {
			return "", err
		}
		return s.judge(body)
	})
}

// send makes a request as KMS does.
func (p *prober) send(ctx context.Context, s step) ([]byte, error) {
	message := map[string]any{"encryptionAlgorithm": "AES_GCM", "requestMetadata": map[string]string{
		"awsPrincipalArn": "arn:aws:iam::000000000000:role/claviger-probe", "kmsOperation": s.operation, "kmsRequestId": "claviger-endpoint-test",
		"kmsKeyArn": "arn:aws:kms:" + p.signer.Region + ":000000000000:key/claviger-probe",
	}}
	for name, value := range s.members {
		message[name] = value
	}
	text, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.target.Site.Base+root+s.path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	p.signer.Sign(req, text, p.target.Site.Clock.Now())
	status, body, err := gateway.Ask(p.client, req)
	if err != nil || status == http.StatusOK {
		return body, err
	}
	var f struct {
		Name    string `json:"errorName"`
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal(body, &f) != nil || f.Name == "" {
		return nil, fmt.Errorf("status %d without an error of the API", status)
	}
	return nil, &failure{status, f.Name, f.Message}
}
