// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"claviger/internal/pki/tlscert"
)

// Message is one request of the native API.
type Message struct {
	Method, Path  string // path and query
	Body          []byte
	Authorization string
}

// Answer is the answer to a Message. Status 0 stands for a connection that breaks.
type Answer struct {
	Status int
	Body   []byte
}

// Send sends a message to the server over a connection that shows the given
// certificate, nil for none.
func (d *Domain) Send(identity *tls.Certificate, m Message) Answer {
	return d.send(context.Background(), identity, m)
}

func (d *Domain) send(ctx context.Context, identity *tls.Certificate, m Message) Answer {
	transport := &http.Transport{TLSClientConfig: tlscert.ClientConfig(d.Pin(), identity)}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, m.Method, "https://"+d.Address+m.Path, bytes.NewReader(m.Body))
	if err != nil {
		return Answer{}
	}
	if m.Authorization != "" {
		req.Header.Set("Authorization", m.Authorization)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return Answer{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}
	}
	return Answer{resp.StatusCode, body}
}

// Script decides what happens to a message: forward passes one on to the server.
type Script func(m Message, forward func(Message) Answer) Answer

// Honest passes everything on.
func Honest(m Message, forward func(Message) Answer) Answer { return forward(m) }

// Man is a man in the middle. He has the server's TLS key, which is all that a
// relay would have, and reads and writes every message of the native API.
type Man struct {
	Address string

	mu     sync.Mutex
	script Script
	seen   []Message
}

// Man starts an honest man in the middle.
func (d *Domain) Man() *Man {
	d.tb.Helper()
	if d.carrier == nil {
		d.carrier = d.Raw(d.Enroll("carrier").Dir).Identity
	}
	m := &Man{script: Honest}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
		if err != nil {
			return
		}
		msg := Message{Method: r.Method, Path: r.URL.RequestURI(), Body: body, Authorization: r.Header.Get("Authorization")}
		m.mu.Lock()
		m.seen = append(m.seen, msg)
		script := m.script
		m.mu.Unlock()
		answer := script(msg, func(m Message) Answer { return d.send(r.Context(), d.carrier, m) })
		if answer.Status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(answer.Status)
		_, _ = w.Write(answer.Body) // the victim has gone
	}))
	// The server's key changes when it is started again.
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return tlscert.ServerConfig(d.cert), nil
	}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that refuse are what tests are about
	server.StartTLS()
	d.tb.Cleanup(server.Close)
	m.Address = server.Listener.Addr().String()
	return m
}

// Do makes him follow a script from now on.
func (m *Man) Do(s Script) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.script = s
}

// On makes him follow a script for one path, and be honest otherwise.
func (m *Man) On(path string, s Script) {
	m.Do(func(msg Message, forward func(Message) Answer) Answer {
		if msg.Path == path {
			return s(msg, forward)
		}
		return forward(msg)
	})
}

// Seen lists the messages of a path that passed.
func (m *Man) Seen(path string) []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Message
	for _, msg := range m.seen {
		if msg.Path == path {
			out = append(out, msg)
		}
	}
	return out
}
