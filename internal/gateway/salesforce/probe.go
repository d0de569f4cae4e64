// SPDX-License-Identifier: Apache-2.0

package salesforce

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"claviger/internal/gateway"
)

// probe does what can be done without being Salesforce: it fetches a key with the
// client certificate if there is one, and holds that strangers get none. The key
// can't be opened here: it is encrypted to Salesforce.
func probe(ctx context.Context, target gateway.ProbeTarget) []gateway.Check {
	if target.Key == "" {
		return []gateway.Check{{Name: "key", Err: errors.New("say which key id: --key NAME-v1")}}
	}
	var out []gateway.Check
	try := func(name string, cert *tls.Certificate, token string, judge func(status int, body []byte) (string, error)) bool {
		out = append(out, gateway.Step(name, func() (string, error) {
			status, body, err := fetch(ctx, target, cert, token)
			if err != nil {
				return "", err
			}
			return judge(status, body)
		}))
		return out[len(out)-1].Err == nil
	}
	refused := func(status int, body []byte) (string, error) {
		if status != http.StatusUnauthorized {
			return "", fmt.Errorf("status %d where 401 is due", status)
		}
		return "refused", nil
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + ".e30."
	if len(target.Site.Endpoint.Issuers) > 0 {
		if try("without a token", nil, "", refused) {
			try("token that nobody signed", nil, none, refused)
		}
	}
	if target.Cert != nil {
		try("key", target.Cert, "", judgeKey)
	}
	if len(out) == 0 {
		out = append(out, gateway.Check{Name: "certificate", Err: errors.New("the endpoint knows Salesforce by its certificate: give one to act with")})
	}
	return out
}

// judgeKey looks at the shape of an answer.
func judgeKey(status int, body []byte) (string, error) {
	var answer struct{ KID, JWE string }
	if status != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		return "", fmt.Errorf("status %d: %.200s", status, body)
	}
	parts := strings.Split(answer.JWE, ".")
	if len(parts) != 5 {
		return "", errors.New("the answer holds no compact JWE")
	}
	return fmt.Sprintf("a JWE of %d bytes", len(answer.JWE)), nil
}

// fetch asks for the key under an id of its own.
func fetch(ctx context.Context, target gateway.ProbeTarget, cert *tls.Certificate, token string) (int, []byte, error) {
	client, done := target.Client(cert)
	defer done()
	id := make([]byte, 16)
	rand.Read(id)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.Site.Base+"/"+target.Key+"?requestId="+hex.EncodeToString(id), nil)
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return gateway.Ask(client, req)
}
