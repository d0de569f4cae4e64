// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
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

// UnsealRequest brings a passphrase or a share to the control socket, or has the
// server read the file again that its configuration names; bytes are base64. The
// empty object asks for the file too.
type UnsealRequest struct {
	Passphrase []byte `json:"passphrase,omitempty"`
	Share      []byte `json:"share,omitempty"`
	KeyFile    bool   `json:"keyfile,omitempty"`
}

// parseUnseal reads a request; whoever asks wipes what is in it.
func parseUnseal(data []byte) (in UnsealRequest, err error) {
	// Security: json.Unmarshal, unlike a Decoder, keeps no copy of its input.
	err = json.Unmarshal(data, &in)
	// Unmarshal passes over names that it doesn't know, so nothing but {} is empty.
	in.KeyFile = in.KeyFile || string(bytes.TrimSpace(data)) == "{}"
	ways := 0
	for _, way := range []bool{len(in.Passphrase) > 0, len(in.Share) > 0, in.KeyFile} {
		if way {
			ways++
		}
	}
	if err != nil || ways != 1 {
		err = fmt.Errorf("%w: an unseal request holds a passphrase, a share or \"keyfile\"", keyserver.ErrMalformed)
	}
	return in, err
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
	in, err := parseUnseal(data)
	defer secret.Wipe(in.Passphrase)
	defer secret.Wipe(in.Share)
	if err != nil {
		return err
	}
	if !s.Sealed() {
		return fmt.Errorf("%w: %w", keyserver.ErrRefused, keyserver.ErrUnsealed)
	}
	with, err := s.unseal.unlock(in)
	if err != nil || with == nil {
		return err
	}
	defer wipeUnlock(with)
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
