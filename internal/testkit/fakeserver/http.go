// SPDX-License-Identifier: Apache-2.0

package fakeserver

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// Listen serves the native API on a free port of 127.0.0.1 until the test ends,
// and returns its address.
func (s *Server) Listen() string {
	s.domain.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.domain.must(err)
	config := tlscert.ServerConfig(s.certificate())
	config.Certificates = nil
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert := s.certificate()
		return &cert, nil
	}
	server := &http.Server{Handler: s.Handler(), TLSConfig: config, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	server.SetKeepAlivesEnabled(false) // so that a restart is noticed
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			s.domain.tb.Error(err)
		}
	}()
	s.domain.tb.Cleanup(func() {
		if err := server.Close(); err != nil {
			s.domain.tb.Error(err)
		}
		<-done
	})
	return l.Addr().String()
}

// Handler is the server's HTTP API.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	get := func(f func(context.Context) ([]byte, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			data, err := f(r.Context())
			s.write(w, data, err)
		}
	}
	post := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxSealedSize))
		if err == nil {
			body, err = s.Exchange(r.Context(), body)
		}
		s.write(w, body, err)
	}
	mux.HandleFunc("GET /v1/introduction", get(s.Introduction))
	mux.HandleFunc("GET /v1/statement", get(s.Statement))
	mux.HandleFunc("POST /v1/exchange", post)
	mux.HandleFunc("POST /v1/enroll", post)
	return mux
}

func (s *Server) write(w http.ResponseWriter, data []byte, err error) {
	if err == nil {
		_, _ = w.Write(data) // a client that went away is its own affair
		return
	}
	refusal := &Refusal{Status: http.StatusBadRequest, Code: "malformed", Message: "no"}
	errors.As(err, &refusal)
	w.WriteHeader(refusal.Status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": refusal.Code, "message": refusal.Message}})
}
