// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/http"
	"time"

	"claviger/internal/keyserver"
	"claviger/internal/keyserver/holding"
	"claviger/internal/wire"
)

// revocation is the JSON of keyserver.Revocation, for `claviger revoke`.
type revocation struct {
	Schema        int         `json:"schema"` // 1
	Server        string      `json:"server"`
	Epoch         string      `json:"epoch"`
	What          []string    `json:"what"`
	At            moment      `json:"at"`
	Now           moment      `json:"now"`
	Told          moment      `json:"told,omitzero"`
	TakenBack     moment      `json:"taken_back,omitzero"`
	Done          bool        `json:"done"`
	Holders       int         `json:"holders"`
	Dark          int         `json:"dark"`
	Acknowledged  int         `json:"acknowledged"`
	AtLeast       bool        `json:"at_least"`
	UnknownBefore moment      `json:"unknown_before,omitzero"`
	UnknownUntil  moment      `json:"unknown_until,omitzero"`
	P50           float64     `json:"p50_seconds"`
	P99           float64     `json:"p99_seconds"`
	Last          float64     `json:"last_seconds"`
	Ends          moment      `json:"ends"`
	Latest        moment      `json:"latest"`
	Lit           []litHolder `json:"lit"`
	OtherServers  []string    `json:"other_servers,omitempty"`
}

// litHolder is a holder that may still use what is revoked.
type litHolder struct {
	Client  string `json:"client"`
	Mailbox string `json:"mailbox,omitempty"`
	Ends    moment `json:"ends"`
}

// moment is a time in Unix milliseconds that shows as RFC 3339 in UTC.
type moment int64

// MarshalText gives RFC 3339 with milliseconds.
func (m moment) MarshalText() ([]byte, error) {
	return []byte(time.UnixMilli(int64(m)).UTC().Format("2006-01-02T15:04:05.000Z")), nil
}

func readRevocation(c *call) error {
	op := &keyserver.ReadRevocation{Question: holding.Question{Of: c.URL.Query().Get("of")}}
	wait, err := number(c, "wait", 0)
	if err != nil {
		return err
	}
	op.Wait = time.Duration(min(wait, 60)) * time.Second
	if epoch := c.URL.Query().Get("epoch"); epoch != "" {
		if op.Epoch, err = wire.ParseEpoch(epoch); err != nil {
			return err
		}
	}
	if (op.Epoch == wire.Epoch{}) == (op.Of == "") {
		return fmt.Errorf("%w: either the epoch of a revocation, or what it is of", keyserver.ErrMalformed)
	}
	a, err := c.core.Do(c.Context(), c.caller, op)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, revocationOf(a.(*keyserver.Revocation)))
	return nil
}

func revocationOf(r *keyserver.Revocation) revocation {
	out := revocation{
		Schema: 1, Server: r.Server.String(), Epoch: r.Epoch.String(), What: r.What, At: moment(r.At), Now: moment(r.Now),
		Told: moment(r.Told), TakenBack: moment(r.TakenBack), Done: r.Done, Holders: r.Holders, Dark: r.Dark, Acknowledged: r.Acknowledged,
		AtLeast: r.Forgotten != 0, UnknownBefore: moment(r.UnknownBefore), UnknownUntil: moment(max(r.UnknownUntil, r.Forgotten)),
		P50: r.P50.Seconds(), P99: r.P99.Seconds(), Last: r.Last.Seconds(), Ends: moment(r.Ends), Latest: moment(r.Latest), Lit: []litHolder{},
	}
	for _, l := range r.Lit {
		h := litHolder{Client: l.Client, Ends: moment(l.Ends)}
		if !l.Mailbox.IsZero() {
			h.Mailbox = l.Mailbox.String()
		}
		out.Lit = append(out.Lit, h)
	}
	for _, s := range r.Others {
		out.OtherServers = append(out.OtherServers, s.Name)
	}
	return out
}
