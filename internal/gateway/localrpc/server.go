// SPDX-License-Identifier: Apache-2.0

package localrpc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"claviger/internal/secret"
)

// Bounds of a Server. A call's time begins when its headers are there.
const (
	maxCalls   = 64 // at a time; more wait
	maxStreams = 64 // of one connection
	maxHeaders = 16 << 10
	readTime   = 5 * time.Second // for the message of a call
	idleTime   = 10 * time.Minute
	endTime    = 5 * time.Second // for calls that run when the server ends
	prefix     = 5               // bytes before a message: a flag and the length
)

// Method answers one message with another. It may keep neither: both are wiped.
type Method func(ctx context.Context, request []byte) (response []byte, err error)

// Server answers gRPC calls.
type Server struct {
	Methods    map[string]Method // by path: "/v2.KeyManagementService/Status"
	MaxMessage int               // bytes of a request; a response may be larger
	Timeout    time.Duration     // of a call, if the caller grants no less
	Log        *slog.Logger
}

// Serve answers on l until ctx ends, and lets calls that run then come to their end for
// some seconds. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler: s.handler(), Protocols: protocols, MaxHeaderBytes: maxHeaders,
		ReadHeaderTimeout: readTime, ReadTimeout: readTime, WriteTimeout: s.Timeout + 2*readTime, IdleTimeout: idleTime,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: max(s.MaxMessage+prefix, 1<<16),
		},
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	})
	err := server.Serve(l)
	if !stop() {
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// handler answers HTTP requests.
func (s *Server) handler() http.Handler {
	running := make(chan struct{}, maxCalls)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.ProtoMajor != 2 || !isGRPC(r.Header.Get("Content-Type")) {
			http.Error(w, "this is a gRPC service", http.StatusUnsupportedMediaType)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), s.Timeout)
		defer cancel()
		response, err := s.call(ctx, r, running)
		defer secret.Wipe(response)
		s.answer(w, r, response, err)
	})
}

// isGRPC reports whether a content type is that of gRPC with protobuf messages.
func isGRPC(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	return t == "application/grpc" || t == "application/grpc+proto"
}

func (s *Server) call(ctx context.Context, r *http.Request, running chan struct{}) ([]byte, error) {
	method, ok := s.Methods[r.URL.Path]
	if !ok {
		return nil, Errorf(NotOffered, "there is no method %.100s", r.URL.Path)
	}
	if text := r.Header.Get("Grpc-Timeout"); text != "" {
		d, err := parseTimeout(text)
		if err != nil {
			return nil, err
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	select {
	case running <- struct{}{}:
		defer func() { <-running }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	cut := context.AfterFunc(ctx, func() { r.Body.Close() })
	request, err := s.read(r.Body)
	cut()
	defer secret.Wipe(request)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	out, err := method(ctx, request)
	if errors.Is(err, ErrMessage) {
		return nil, Errorf(InvalidArgument, "%s", err)
	}
	return out, err
}

// read reads the one message of a request.
//
// Security: what a prefix announces is bounded before memory is taken.
func (s *Server) read(body io.Reader) ([]byte, error) {
	var head [prefix]byte
	if _, err := io.ReadFull(body, head[:]); err != nil {
		return nil, badBody(err)
	}
	if head[0] != 0 {
		return nil, Errorf(NotOffered, "compressed messages are not taken")
	}
	size := binary.BigEndian.Uint32(head[1:])
	if int64(size) > int64(s.MaxMessage) {
		return nil, Errorf(ResourceExhausted, "the message is larger than %d bytes", s.MaxMessage)
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(body, message); err != nil {
		secret.Wipe(message)
		return nil, badBody(err)
	}
	if n, err := io.ReadFull(body, head[:1]); n != 0 || !errors.Is(err, io.EOF) {
		secret.Wipe(message)
		if n == 0 {
			return nil, badBody(err)
		}
		return nil, Errorf(InvalidArgument, "more than one message came")
	}
	return message, nil
}

// badBody is why a message did not come whole.
func badBody(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Errorf(InvalidArgument, "the message is not whole")
	}
	return err
}

// answer writes a response, or the refusal that an error stands for.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, response []byte, err error) {
	status := &Error{}
	if err != nil {
		status = asError(err)
		level := slog.LevelWarn
		if _, said := errors.AsType[*Error](err); said {
			level = slog.LevelDebug // whoever refused it has logged what matters
		}
		s.Log.LogAttrs(r.Context(), level, "call refused", slog.String("method", printable(r.URL.Path)), slog.Int("code", int(status.Code)), slog.String("error", err.Error()))
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.WriteHeader(http.StatusOK)
	if err == nil {
		var head [prefix]byte
		binary.BigEndian.PutUint32(head[1:], uint32(len(response)))
		w.Write(head[:])
		w.Write(response)
	}
	// The headers have to be out, so that what follows are trailers.
	http.NewResponseController(w).Flush()
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(int(status.Code)))
	if status.Text != "" {
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", escape(status.Text))
	}
}

// printable is a text of the caller's for the log.
func printable(s string) string { return escape(s[:min(len(s), 100)]) }

// parseTimeout reads what gRPC sends as grpc-timeout: at most eight digits and a unit.
func parseTimeout(s string) (time.Duration, error) {
	units := map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	unit, ok := units[s[len(s)-1]]
	if err != nil || !ok || len(s) > 9 || s[0] == '+' {
		return 0, Errorf(InvalidArgument, "grpc-timeout is malformed")
	}
	if unit == time.Hour {
		n = min(n, 1<<20)
	}
	return time.Duration(n) * unit, nil
}
