// SPDX-License-Identifier: Apache-2.0

package doors_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claviger/internal/cli/doors"
	"claviger/internal/clock"
	"claviger/internal/gateway/doorcert"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/settings"
)

func TestConfig(t *testing.T) {
	for _, c := range []doors.Config{
		{}, {Listen: doors.DefaultListen}, {Listen: ":8445", Public: "https://keys.example.com", Certificate: "c.pem", Key: "/k.pem"},
		{Listen: ":8445", Public: "https://[::1]:8445"},
	} {
		var b bytes.Buffer
		b.WriteString("schema = 1\n")
		c.Write(&b)
		var got struct {
			Schema int          `toml:"schema"`
			Doors  doors.Config `toml:"doors"`
		}
		if err := settings.Decode(b.String(), &got); err != nil || got.Doors != c || c.Check() != nil {
			t.Errorf("%+v, want %+v: %v, %v", got.Doors, c, err, c.Check())
		}
	}
	for want, c := range map[string]doors.Config{
		"listen":      {Listen: "8445"},
		"go together": {Listen: ":1", Key: "k"},
		"public":      {Public: "https://h/path"},
		"https":       {Public: "http://h"},
		"lower case":  {Public: "https://H"},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}

// TestPort: the port answers beside the server and ends with it, under a
// certificate that the data directory's CA vouches for.
func TestPort(t *testing.T) {
	r := keyservertest.New(t)
	o := keyserver.Options{Dir: r.Dir, Clock: clock.System()}
	if none, err := doors.Open(doors.Config{}, r.Server, r.Server.Metrics(), o); err != nil || none.Address() != "" {
		t.Fatalf("no port: %v", err)
	}
	port, err := doors.Open(doors.Config{Listen: "127.0.0.1:0"}, r.Server, r.Server.Metrics(), o)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(datadir.Dir(r.Dir).PKI(), doorcert.CAFile))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer tr.CloseIdleConnections()
	stop := errors.New("enough")
	err = port.Beside(t.Context(), func(ctx context.Context) error {
		for path, want := range map[string]string{"/ping": "200 OK pong\n", "/": "404 Not Found not found\n", "/door/v1": "404 Not Found not found\n"} {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+port.Address()+path, http.NoBody)
			if err != nil {
				return err
			}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				return err
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if got := resp.Status + " " + string(body); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Errorf("ended with %v", err)
	}
	if _, err := tls.Dial("tcp", port.Address(), &tls.Config{RootCAs: roots}); err == nil {
		t.Error("the port outlives the server")
	}
}

func TestOpenRefuses(t *testing.T) {
	r := keyservertest.New(t)
	o := keyserver.Options{Dir: r.Dir, Clock: clock.System()}
	for _, c := range []doors.Config{{Listen: r.Addr}, {Listen: "127.0.0.1:0", Certificate: "no.pem", Key: "no.key"}} {
		if _, err := doors.Open(c, r.Server, r.Server.Metrics(), o); err == nil {
			t.Errorf("%+v was opened", c)
		}
		if c.Certificate != "" && c.Try(r.Dir) == nil {
			t.Error("a check takes files that aren't there")
		}
	}
}
