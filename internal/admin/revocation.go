// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"claviger/internal/wire"
)

// Revocation is how far a revocation has come, as one server reckons it
// (docs/revocation.md). It is the server's word, and rests on that of the holders.
type Revocation struct {
	Server    string    `json:"server"`
	Epoch     string    `json:"epoch"`               // of its record
	What      []string  `json:"what"`                // what is revoked, in words
	At        time.Time `json:"at"`                  // of the record
	Now       time.Time `json:"now"`                 // on the server
	Told      time.Time `json:"told,omitzero"`       // when the first statement that says it was signed
	TakenBack time.Time `json:"taken_back,omitzero"` // when it was taken back; the rest is of that moment
	Done      bool      `json:"done"`                // nobody, known or not, can use it any more

	Holders      int  `json:"holders"`      // known to have held something of it
	Dark         int  `json:"dark"`         // of them, those that can't use it any more
	Acknowledged int  `json:"acknowledged"` // of those, by their own word
	AtLeast      bool `json:"at_least"`     // there were more holders than the server has room for

	// Leases that the server can't know of: of an earlier run, or forgotten.
	UnknownBefore time.Time `json:"unknown_before,omitzero"`
	UnknownUntil  time.Time `json:"unknown_until,omitzero"`

	P50  float64 `json:"p50_seconds"` // of those that are dark
	P99  float64 `json:"p99_seconds"`
	Last float64 `json:"last_seconds"`

	Ends   time.Time `json:"ends"`   // when the last known holder goes dark by itself, or went dark
	Latest time.Time `json:"latest"` // when everybody has

	Lit          []LitHolder `json:"lit"`                     // the slowest first, at most 100
	OtherServers []string    `json:"other_servers,omitempty"` // that vouch for the domain and may not have heard
}

// LitHolder is a holder that may still use what is revoked.
type LitHolder struct {
	Client  string    `json:"client"`            // SPIFFE id
	Mailbox string    `json:"mailbox,omitempty"` // of the run of it; none: it can't acknowledge
	Ends    time.Time `json:"ends"`              // when it goes dark by itself
}

// maxRevocationWait is how long a server holds a question back until there is
// something to say.
const maxRevocationWait = 10 * time.Second

// Revocation asks how far a revocation has come: by its record, or with a zero
// epoch the newest of a thing (authority.Key.Object, …). The server answers when
// it is done, and after the given time at the latest (10 s at most).
// ErrNotFound: the server knows of none.
func (s *Session) Revocation(ctx context.Context, epoch wire.Epoch, of string, wait time.Duration) (*Revocation, error) {
	q := url.Values{"wait": {strconv.Itoa(int(min(wait, maxRevocationWait) / time.Second))}}
	if epoch != (wire.Epoch{}) {
		q.Set("epoch", epoch.String())
	} else {
		q.Set("of", of)
	}
	data, err := s.call(ctx, request{method: http.MethodGet, target: "/v1/admin/revocation?" + q.Encode(), limit: maxStatus})
	if err != nil {
		return nil, err
	}
	var out Revocation
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("%w: its report on a revocation: %w", ErrIntegrity, err)
	}
	return &out, nil
}
