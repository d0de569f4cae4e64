// SPDX-License-Identifier: Apache-2.0

// Package bare is the least that a server-side encryption over HTTP could cost: a
// net/http server with the TLS of ours, client certificates included, that reads
// JSON, seals with one AES-256-GCM key on the heap, and answers JSON. It checks no
// policy, keeps no log and knows no names. What ours needs beyond it is the price
// of those.
package bare

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
)

// Question and Answer are what travels, shaped like ours.
type (
	Question struct {
		Items []Item `json:"items"`
	}
	Item struct {
		Op        string `json:"op"`
		Key       string `json:"key"`
		Plaintext []byte `json:"plaintext"`
	}
	Answer struct {
		Items  []Sealed `json:"items"`
		Schema int      `json:"schema"`
	}
	Sealed struct {
		Key        string `json:"key"`
		Version    int    `json:"version"`
		Ciphertext []byte `json:"ciphertext"`
	}
)

// limit is how long a question may be.
const limit = 1 << 20

// Handler seals every item of a question.
func Handler() (http.Handler, error) {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q Question
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit)).Decode(&q); err != nil {
			http.Error(w, "that is no question", http.StatusBadRequest)
			return
		}
		a := Answer{Schema: 1, Items: make([]Sealed, len(q.Items))}
		for i, item := range q.Items {
			a.Items[i] = Sealed{Key: item.Key, Version: 1, Ciphertext: aead.Seal(nil, nil, item.Plaintext, nil)}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a) // who went away needs no answer
	}), nil
}

// Config is the TLS of the key server: version 1.3 and a client certificate of the
// authority in clientCA. TLS checks the certificate; net/http asks for no more.
func Config(cert, key, clientCA string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}
	if clientCA != "" {
		text, err := os.ReadFile(clientCA)
		if err != nil {
			return nil, err
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(text) {
			return nil, errors.New("no certificate in " + clientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// Serve answers on l, which speaks plain TCP, until ctx ends. HTTP/2 is offered as
// well.
func Serve(ctx context.Context, l net.Listener, config *tls.Config) error {
	h, err := Handler()
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, TLSConfig: config}
	context.AfterFunc(ctx, func() { s.Close() })
	if err := s.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
