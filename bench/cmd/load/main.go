// SPDX-License-Identifier: Apache-2.0

// Command load asks any HTTP server over and over, in a process of its own, and
// prints one JSON object: answers a second, how long they took, and what the
// server's process spent of its processor on each (with -pid).
//
//	load -url https://127.0.0.1:8443/v1/use -body use.json -cert cert.pem -key key.pem -connections 64
//	load -url https://127.0.0.1:8443/v1/use -body use.json -cert cert.pem -key key.pem -rate 5000
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"claviger/bench/load"
	"claviger/bench/proc"
	"claviger/internal/authn/sigv4"
	"claviger/internal/secret"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// output is what a run prints.
type output struct {
	Answers   uint64  `json:"answers"`
	Errors    uint64  `json:"errors"`
	First     string  `json:"first_error,omitempty"`
	PerSecond float64 `json:"answers_per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p999_ms"`
	ServerCPU float64 `json:"server_cpu_us_per_answer,omitempty"`
	ServerMiB float64 `json:"server_resident_mib,omitempty"`
}

func run() error {
	var t load.Target
	var p load.Plan
	flag.StringVar(&t.URL, "url", "", "what to ask")
	flag.StringVar(&t.Method, "method", "POST", "how")
	flag.BoolVar(&t.HTTP2, "http2", false, "over HTTP/2")
	body := flag.String("body", "", "file with the request's body")
	cert := flag.String("cert", "", "client certificate (PEM)")
	key := flag.String("key", "", "its key (PEM)")
	pid := flag.Int("pid", 0, "the server's process")
	flag.IntVar(&p.Connections, "connections", 16, "how many, at most, at the same time")
	flag.DurationVar(&p.Duration, "duration", 3*time.Second, "how long")
	flag.DurationVar(&p.Warmup, "warmup", 500*time.Millisecond, "how long before that, unmeasured")
	flag.Float64Var(&p.Rate, "rate", 0, "requests a second whatever the server does (default: as fast as it answers)")
	flag.Func("header", "NAME: VALUE; can be given again", func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return errors.New("a header has a colon")
		}
		if t.Header == nil {
			t.Header = http.Header{}
		}
		t.Header.Add(name, strings.TrimSpace(value))
		return nil
	})
	sign := flag.String("sigv4", "", "credential file of an XKS endpoint that signs each request")
	flag.Parse()
	var err error
	if t.Body, err = os.ReadFile(*body); *body != "" && err != nil {
		return err
	}
	// Whom the generator talks to is the measurer's own business: servers of all
	// kinds show certificates of all kinds.
	t.TLS = &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return err
		}
		t.TLS.Certificates = []tls.Certificate{pair}
	}
	if *sign != "" {
		if t.Sign, err = signer(*sign); err != nil {
			return err
		}
	}
	o, err := measure(t, p, *pid)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}

// signer signs as AWS KMS does, with the first credential of a file that
// `claviger endpoint add --credential-out` wrote.
func signer(path string) (func(*http.Request, []byte), error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Credentials []struct{ ID, Secret string }
	}
	if err := json.Unmarshal(data, &file); err != nil || len(file.Credentials) == 0 {
		return nil, fmt.Errorf("read %s: no credential in it: %w", path, err)
	}
	c := file.Credentials[0]
	s := sigv4.Signer{ID: c.ID, Secret: secret.Take([]byte(c.Secret)), Region: "eu-central-1", Service: "kms-xks-proxy"}
	return func(r *http.Request, body []byte) { s.Sign(r, body, time.Now()) }, nil
}

func measure(t load.Target, p load.Plan, pid int) (*output, error) {
	if p.Warmup > 0 {
		warm := p
		warm.Duration, warm.Warmup = p.Warmup, 0
		if _, err := load.Run(context.Background(), t, warm); err != nil {
			return nil, err
		}
		p.Warmup = 0
	}
	before := proc.CPU(pid)
	r, err := load.Run(context.Background(), t, p)
	if err != nil {
		return nil, err
	}
	used := proc.CPU(pid) - before
	ms := func(q float64) float64 { return float64(r.Times.Quantile(q).Microseconds()) / 1000 }
	o := &output{Answers: r.Times.Count(), Errors: r.Errors, PerSecond: r.PerSecond(), P50: ms(0.5), P99: ms(0.99), P999: ms(0.999)}
	if r.First != nil {
		o.First = r.First.Error()
	}
	if pid > 0 && o.Answers > 0 {
		o.ServerCPU = float64(used.Microseconds()) / float64(o.Answers)
		o.ServerMiB = float64(proc.Status(pid, "VmRSS")) / 1024
	}
	return o, nil
}
