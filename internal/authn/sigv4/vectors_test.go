// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/secret"
)

// vectors are requests that others signed with the secret of text(): AWS's test
// suite ("aws-sig-v4-test-suite", of 2015), and curl 7.88.1 by its --aws-sigv4.
func vectors() []vector {
	return []vector{
		{"get-vanilla", "service", "GET / HTTP/1.1\nHost: example.amazonaws.com\nX-Amz-Date: 20150830T123600Z\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31\n\n"},
		{"post-vanilla", "service", "POST / HTTP/1.1\nHost: example.amazonaws.com\nX-Amz-Date: 20150830T123600Z\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b\n\n"},
		{"post-header-value-case", "service", "POST / HTTP/1.1\nHost: example.amazonaws.com\nMy-Header1: VALUE1\nX-Amz-Date: 20150830T123600Z\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;my-header1;x-amz-date, Signature=cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d\n\n"},
		{"get-header-value-trim", "service", "GET / HTTP/1.1\nHost: example.amazonaws.com\nMy-Header1:  value1\nMy-Header2: \"a   b   c\"\nX-Amz-Date: 20150830T123600Z\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;my-header1;my-header2;x-amz-date, Signature=acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736\n\n"},
		{"post-x-www-form-urlencoded", "service", "POST / HTTP/1.1\nHost: example.amazonaws.com\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 13\nX-Amz-Date: 20150830T123600Z\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a\n\nParam1=value1"},
		{"curl", "kms-xks-proxy", "POST /door/kms/xks/v1/health HTTP/1.1\nHost: 127.0.0.1:18931\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/eu-central-1/kms-xks-proxy/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=fdc8ba84c425017f18f2b054ab979a4533a29627510f2b7d522b489aefb94ae6\n" +
			"X-Amz-Date: 20261121T113838Z\nUser-Agent: curl/7.88.1\nAccept: */*\nContent-Type: application/json\nContent-Length: 47\n\n{\"requestMetadata\":{\"kmsRequestId\":\"4112f4d6\"}}"},
		{"curl with a hash", "kms-xks-proxy", "POST /kms/xks/v1/keys/k-1/decrypt HTTP/1.1\nHost: 127.0.0.1:18931\n" +
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/eu-central-1/kms-xks-proxy/aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date, Signature=c4d85fbe0ed63aad95efcb3503f22b532fcc401e171165af586809e097b20f67\n" +
			"X-Amz-Date: 20261121T113838Z\nUser-Agent: curl/7.88.1\nAccept: */*\nContent-Type: application/json\nX-Amz-Content-Sha256: 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\nContent-Length: 2\n\n{}"},
	}
}

type vector struct{ name, service, request string }

func TestVectors(t *testing.T) {
	for _, c := range vectors() {
		head, body, _ := strings.Cut(c.request, "\n\n")
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != body {
			t.Fatalf("%q, %v", got, err)
		}
		at, err := time.Parse(timeFormat, r.Header.Get("X-Amz-Date"))
		if err != nil {
			t.Fatal(err)
		}
		v := New(Options{Service: c.service, Credentials: []Credential{{"AKIDEXAMPLE", func(context.Context) (*secret.Bytes, error) { return text(), nil }}}})
		if proof, err := v.Verify(t.Context(), r, got, at); err != nil || proof.Credential() != "AKIDEXAMPLE" {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := v.Verify(t.Context(), r, append(got, ' '), at); !errors.Is(err, authn.ErrRefused) {
			t.Errorf("%s with another body: %v", c.name, err)
		}
	}
}

// TestAuthority: what HTTP/2 has in the place of Host is signed under its own name.
func TestAuthority(t *testing.T) {
	for major, want := range map[int]error{1: authn.ErrRefused, 2: nil} {
		r := signed(t, nil)
		r.ProtoMajor = major
		Signer{id, text(), "eu-west-1", service}.sign(r, nil, now(), ":authority", "content-type", "x-amz-date")
		if _, err := verifier("").Verify(t.Context(), r, nil, now()); !errors.Is(err, want) {
			t.Errorf("HTTP/%d: %v", major, err)
		}
	}
}

// TestTwice: a header that is signed is there once.
func TestTwice(t *testing.T) {
	r := signed(t, nil)
	r.Header["Content-Type"] = []string{"application/json", "application/json"}
	if _, err := verifier("").Verify(t.Context(), r, nil, now()); !errors.Is(err, authn.ErrRefused) {
		t.Error(err)
	}
}
