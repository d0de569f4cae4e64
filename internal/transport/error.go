// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Error is what a server, or who carries its messages, said instead of an answer.
// Nobody signed it.
type Error struct {
	Address    string
	Status     int           // HTTP status, or the one that stands for the same trouble
	Code       string        // "busy", "sealed", …; empty if the answer was none of Claviger's
	Message    string        // printable, at most 256 bytes
	RetryAfter time.Duration // when to ask again, if the server said so
}

// Error names the server and what it said.
func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("%s answered with HTTP status %d", e.Address, e.Status)
	}
	return fmt.Sprintf("%s says %s: %s", e.Address, e.Code, e.Message)
}

// maxRetryAfter bounds what a server can make a client wait.
const maxRetryAfter = time.Minute

func refusal(address string, resp *http.Response) error {
	out := &Error{Address: address, Status: resp.StatusCode}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		out.RetryAfter = min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	body, err := readAtMost(resp.Body, maxError)
	if err != nil {
		return out
	}
	var answer struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal(body, &answer) == nil {
		out.Code, out.Message = printable(answer.Error.Code, 32), printable(answer.Error.Message, 256)
	}
	return out
}

// printable keeps a stranger's text from writing to a terminal what it likes.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), limit)]
}

// bare strips the method and URL that net/http puts around an error.
func bare(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
