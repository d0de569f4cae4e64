// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

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
	info, err := root.Describe(s.rootDir())
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &ControlStatus{Schema: 1, Sealed: s.core == nil, Kind: string(info.Kind), Have: len(s.shares), Need: info.Threshold}, nil
}

func (s *Server) unsealWith(ctx context.Context, data []byte) error {
	var in UnsealRequest
	if err := decodeJSON(data, &in); err != nil {
		return errors.Join(ErrMalformed, errors.New("unseal request"))
	}
	defer secret.Wipe(in.Passphrase)
	defer secret.Wipe(in.Share)
	if !s.Sealed() {
		return fmt.Errorf("%w: %w", ErrRefused, ErrUnsealed)
	}
	with, err := s.gather(in)
	if err != nil || with == nil {
		return err
	}
	r, err := root.Open(s.rootDir(), *with)
	if with.Passphrase != nil {
		with.Passphrase.Wipe()
	}
	if err != nil {
		return err
	}
	// Unsealing outlives the request that asked for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
	defer cancel()
	return s.Unseal(ctx, r)
}

// gather adds a share; nil without an error means that more are needed.
func (s *Server) gather(in UnsealRequest) (*root.Unlock, error) {
	if len(in.Share) == 0 {
		return &root.Unlock{Passphrase: secret.Take(in.Passphrase)}, nil
	}
	share := secret.Take(in.Share)
	who, err := root.CheckShare(s.rootDir(), share)
	if err != nil {
		share.Wipe()
		return nil, err
	}
	info, err := root.Describe(s.rootDir())
	if err != nil {
		share.Wipe()
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, have := range s.shares {
		if have.Len() == share.Len() && have.Equal(share) {
			share.Wipe()
			return nil, fmt.Errorf("%w: share %d was brought already", ErrRefused, who.Index)
		}
	}
	s.shares = append(s.shares, share)
	if len(s.shares) < info.Threshold {
		return nil, nil
	}
	return &root.Unlock{Shares: s.shares}, nil
}
