// SPDX-License-Identifier: Apache-2.0

package localrpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// maxAnswer bounds what Call takes as an answer.
const maxAnswer = 1 << 20

// Call asks the server at a socket one thing, as a program of its machine does. An
// *Error is the server's refusal.
func Call(ctx context.Context, socket, method string, request []byte) ([]byte, error) {
	address, err := parseSocket(socket)
	if err != nil {
		return nil, err
	}
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", address)
		}}
	defer transport.CloseIdleConnections()
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(request))), request...)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+method, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", method, err)
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", method, err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", method, err)
	}
	if err := statusOf(answer); err != nil {
		return nil, err
	}
	if len(data) < prefix || len(data) > maxAnswer || data[0] != 0 || int(binary.BigEndian.Uint32(data[1:])) != len(data)-prefix {
		return nil, fmt.Errorf("call %s: %w", method, errAnswer)
	}
	return data[prefix:], nil
}

var errAnswer = errors.New("the answer is no gRPC message")

// statusOf is the refusal in an answer, nil if it is none.
func statusOf(answer *http.Response) error {
	from := answer.Trailer
	if from.Get("Grpc-Status") == "" {
		from = answer.Header
	}
	code, err := strconv.Atoi(from.Get("Grpc-Status"))
	if answer.StatusCode != http.StatusOK || err != nil {
		return fmt.Errorf("%w: HTTP status %d", errAnswer, answer.StatusCode)
	}
	if Code(code) == OK {
		return nil
	}
	text, err := url.PathUnescape(from.Get("Grpc-Message"))
	if err != nil {
		text = from.Get("Grpc-Message")
	}
	return &Error{Code: Code(code), Text: text}
}
