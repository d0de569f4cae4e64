// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"claviger/internal/keyserver"
	"claviger/internal/root"
	"claviger/internal/secret"
)

// ControlStatus is what the control socket says of the seal.
type ControlStatus struct {
	Schema int    `json:"schema"` // 1
	Sealed bool   `json:"sealed"`
	Kind   string `json:"kind"` // passphrase, key file or shares
	Have   int    `json:"have"` // shares brought so far
	Need   int    `json:"need"`
}

// UnsealRequest brings a passphrase or a share to the control socket; bytes are
// base64.
type UnsealRequest struct {
	Passphrase []byte `json:"passphrase,omitempty"`
	Share      []byte `json:"share,omitempty"`
}

// maxUnseal bounds an unseal request; a share is about 300 bytes.
const maxUnseal = 64 << 10

// controlHandler serves the Unix socket in the data directory. Who may open that
// file may seal and unseal: its mode, 0600, is the credential.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, err error) {
		if err != nil {
			s.controlFail(w, err)
			return
		}
		status, err := s.controlStatus()
		if err != nil {
			s.controlFail(w, err)
			return
		}
		writeJSON(w, http.StatusOK, status)
	}
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("POST /seal", func(w http.ResponseWriter, r *http.Request) { answer(w, s.Seal(r.Context())) })
	mux.HandleFunc("POST /unseal", func(w http.ResponseWriter, r *http.Request) {
		data, err := readBody(w, r, maxUnseal)
		defer secret.Wipe(data)
		if err == nil {
			err = s.unsealWith(r.Context(), data)
		}
		answer(w, err)
	})
	return mux
}

// controlFail may say everything: whoever may open the socket owns the server.
func (s *Server) controlFail(w http.ResponseWriter, err error) {
	status, e := classify(err)
	e.Message = err.Error()
	if errors.Is(err, root.ErrWrongPassphrase) {
		status, e.Code = http.StatusForbidden, "wrong-passphrase"
	}
	writeJSON(w, status, map[string]any{"error": e})
}

func (s *Server) controlStatus() (*ControlStatus, error) {
	info, err := root.Describe(s.unseal.dir)
	if err != nil {
		return nil, err
	}
	return &ControlStatus{Schema: 1, Sealed: s.Sealed(), Kind: string(info.Kind), Have: s.unseal.have(), Need: info.Threshold}, nil
}

// unsealWith takes one request at a time: a passphrase costs memory and time on
// purpose, and shares add up.
func (s *Server) unsealWith(ctx context.Context, data []byte) error {
	s.unseal.one.Lock()
	defer s.unseal.one.Unlock()
	var in UnsealRequest
	// Security: json.Unmarshal, unlike a Decoder, keeps no copy of its input.
	err := json.Unmarshal(data, &in)
	defer secret.Wipe(in.Passphrase)
	defer secret.Wipe(in.Share)
	if err != nil || (len(in.Passphrase) == 0) == (len(in.Share) == 0) {
		return fmt.Errorf("%w: an unseal request holds a passphrase or a share", keyserver.ErrMalformed)
	}
	if !s.Sealed() {
		return fmt.Errorf("%w: %w", keyserver.ErrRefused, keyserver.ErrUnsealed)
	}
	with := &root.Unlock{}
	if len(in.Share) == 0 {
		with.Passphrase = secret.Take(in.Passphrase)
		defer with.Passphrase.Wipe()
	} else if with.Shares, err = s.unseal.gather(in.Share); err != nil || with.Shares == nil {
		return err
	}
	defer wipeAll(with.Shares)
	r, err := root.Open(s.unseal.dir, *with)
	if err == nil {
		// Unsealing outlives the request that asked for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
		defer cancel()
		err = s.Unseal(ctx, r)
	}
	if err != nil && with.Shares != nil {
		s.unseal.drop() // or shares that don't fit together would stay in the way
		return fmt.Errorf("%w; bring all shares again", err)
	}
	return err
}
