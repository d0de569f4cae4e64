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
	"io"
	"net"
	"net/http"
	"strings"
	"time"

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
		start := target.Site.Clock.Boot()
		status, body, err := fetch(ctx, target, cert, token)
		c := gateway.Check{Name: name, Err: err, Latency: target.Site.Clock.Boot() - start}
		if err == nil {
			c.Note, c.Err = judge(status, body)
		}
		out = append(out, c)
		return c.Err == nil
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

func fetch(ctx context.Context, target gateway.ProbeTarget, cert *tls.Certificate, token string) (int, []byte, error) {
	config := target.TLS.Clone()
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	transport := &http.Transport{TLSClientConfig: config, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, target.Address)
	}}
	defer transport.CloseIdleConnections()
	id := make([]byte, 16)
	rand.Read(id)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.Site.Base+"/"+target.Key+"?requestId="+hex.EncodeToString(id), nil)
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, body, err
}
