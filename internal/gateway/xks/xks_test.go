// SPDX-License-Identifier: Apache-2.0

package xks

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"claviger/internal/authn/sigv4"
	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/clock"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
	"claviger/internal/secret"
)

// kms is AWS KMS before one key store.
type kms struct {
	region string
	keys   []sigv4.Signer // the first one signs
	sealed []byte         // body of a decryption
}

// suite is the door with two live credentials, the key aws/k1, and a valid request
// for each operation.
func (k *kms) suite() gatewaytest.Suite {
	k.region = "eu-west-1"
	return gatewaytest.Suite{
		Kind: Kind(), Policy: `permit(principal in Endpoint::"door", action, resource);`, Endpoint: authority.Endpoint{Options: []authority.Tag{gatewaytest.Tag(gateway.OptionFolder, "aws/")}},
		Before: func(r *gatewaytest.Rig, e *authority.Endpoint) {
			k.keys = nil
			for range 2 {
				made, err := newCredential("", "")
				if err != nil {
					r.T.Fatal(err)
				}
				r.Hide([]byte(made.Show))
				made.Credential.Material = endpoints.MaterialHash(made.Material.Expose())
				if status, body := r.AsAdmin("POST", "/v1/admin/material", slices.Clone(made.Material.Expose())); status != 200 {
					r.T.Fatalf("keep a credential: %d %s", status, body)
				}
				e.Credentials = append(e.Credentials, made.Credential)
				k.keys = append(k.keys, sigv4.Signer{ID: made.Credential.ID, Secret: secret.Take([]byte(made.Show)), Region: k.region, Service: service})
			}
			slices.SortFunc(e.Credentials, func(a, b authority.Credential) int { return compare(a.ID, b.ID) })
		},
		After: func(r *gatewaytest.Rig) {
			r.CreateKey("aws/k1", authority.AES256)
			k.seal(r)
		},
		Sign: func(_ *gatewaytest.Rig, req *http.Request, body []byte) {
			if req.Header.Get("Content-Type") == "" {
				req.Header.Set("Content-Type", "application/json")
			}
			k.keys[0].Sign(req, body, clock.System().Now())
		},
		Wrong: map[gateway.Failure]gatewaytest.Expect{
			gateway.Malformed:       gatewaytest.Status(400, `"ValidationException"`),
			gateway.MediaType:       gatewaytest.Status(400, `"ValidationException"`),
			gateway.Unauthenticated: gatewaytest.Status(401, `"AuthenticationFailedException"`),
			gateway.Denied:          gatewaytest.Status(403, `"AccessDeniedException"`),
			gateway.Revoked:         gatewaytest.Status(403, `"AccessDeniedException"`),
			gateway.KeyOff:          gatewaytest.Status(400, `"InvalidStateException"`),
			gateway.EndpointOff:     gatewaytest.Status(400, `"InvalidStateException"`),
			gateway.NoRoute:         gatewaytest.Status(404, `"InvalidUriPathException"`),
			gateway.NoMethod:        gatewaytest.Status(405, `"InvalidUriPathException"`),
			gateway.TooLarge:        gatewaytest.Status(501, `"UnsupportedOperationException"`),
			gateway.TooSlow:         gatewaytest.Status(503, `"DependencyTimeoutException"`),
			gateway.TooMany:         gatewaytest.Status(429, `"ThrottlingException"`),
			gateway.Unavailable:     gatewaytest.Status(503, `"DependencyTimeoutException"`),
			gateway.Sealed:          gatewaytest.Status(503, `"DependencyTimeoutException"`),
		},
		Cases: []gatewaytest.Case{
			// A disabled key's metadata is answered: its status says so.
			{Route: "metadata", Keys: []string{"aws/k1"}, Make: func(*gatewaytest.Rig) gatewaytest.Request { return request("k1/metadata", nil) },
				Wrong: map[gateway.Failure]gatewaytest.Expect{gateway.KeyOff: gatewaytest.Status(200, `"keyStatus":"DISABLED"`)}},
			{Route: "encrypt", Keys: []string{"aws/k1"}, Make: func(r *gatewaytest.Rig) gatewaytest.Request {
				return request("k1/encrypt", map[string]any{
					"plaintext": r.Canary(), "encryptionAlgorithm": "AES_GCM", "additionalAuthenticatedData": []byte("project=nile"),
					"ciphertextDataIntegrityValueAlgorithm": "SHA_256",
				})
			}},
			{Route: "decrypt", Keys: []string{"aws/k1"}, Make: func(*gatewaytest.Rig) gatewaytest.Request {
				return gatewaytest.Request{Method: "POST", Path: root + "/keys/k1/decrypt", Body: k.sealed}
			}},
			{Route: "health", Unlogged: true, Make: func(*gatewaytest.Rig) gatewaytest.Request {
				return gatewaytest.Request{Method: "POST", Path: root + "/health", Body: body(nil)}
			}},
		},
	}
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

// body is a request's, with metadata as KMS sends it.
func body(members map[string]any) []byte {
	message := map[string]any{"requestMetadata": map[string]any{
		"awsPrincipalArn": "arn:aws:iam::123456789012:role/App", "kmsOperation": "Encrypt", "kmsRequestId": "4112f4d6-db54-4af4-ae30-c55a22a8dfae",
		"kmsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1", "kmsViaService": "ebs", "awsSourceVpc": "vpc-1",
	}}
	for name, value := range members {
		message[name] = value
	}
	out, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	return out
}

func request(path string, members map[string]any) gatewaytest.Request {
	return gatewaytest.Request{Method: "POST", Path: root + "/keys/" + path, Body: body(members)}
}

const everything = `permit(principal, action, resource);`

// seal has something encrypted that can be decrypted later, and leaves a policy
// that permits nothing.
func (k *kms) seal(r *gatewaytest.Rig) {
	r.Allow(everything)
	var out map[string]any
	k.must(r, request("k1/encrypt", map[string]any{
		"plaintext": r.Canary(), "encryptionAlgorithm": "AES_GCM", "additionalAuthenticatedData": []byte("project=nile"),
	}), &out)
	out["encryptionAlgorithm"], out["additionalAuthenticatedData"] = "AES_GCM", []byte("project=nile")
	k.sealed = body(out)
	r.Allow(`forbid(principal, action, resource);`)
}

// call makes a signed request.
func (k *kms) call(r *gatewaytest.Rig, req gatewaytest.Request) gatewaytest.Reply {
	r.T.Helper()
	reply, err := r.Send(r.Client(nil), r.NewRequest(req, bytes.NewReader(req.Body)))
	if err != nil {
		r.T.Fatal(err)
	}
	return reply
}

// must makes one that has to work.
func (k *kms) must(r *gatewaytest.Rig, req gatewaytest.Request, into any) {
	r.T.Helper()
	reply := k.call(r, req)
	if reply.Status != 200 || json.Unmarshal(reply.Body, into) != nil {
		r.T.Fatalf("%s: %d %s", req.Path, reply.Status, reply.Body)
	}
}

// TestConformance is what every door is tried with.
func TestConformance(t *testing.T) { gatewaytest.Run(t, new(kms).suite()) }

func FuzzBodies(f *testing.F) { gatewaytest.FuzzBodies(f, new(kms).suite()) }

// TestIntegrityValue is the vector of the specification.
func TestIntegrityValue(t *testing.T) {
	decode := func(s string) []byte {
		out, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	s := sealed{ciphertext: decode("ghxkK1txeDNn3q8Y"), iv: decode("HMrlRw85cAJUd5Ax"), tag: decode("vBxN2ncH1oEkR8WVXpmyYQ=="), metadata: decode("a2V5X3ZlcnNpb249MQ==")}
	if got := s.integrity(decode("cHJvamVjdD1uaWxlLGRlcGFydG1lbnQ9bWFya2V0aW5n")); got != "qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc=" {
		t.Error(got)
	}
}
