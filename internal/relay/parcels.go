// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"claviger/internal/relay/ring"
)

// putParcel keeps a sealed message for a mailbox. Only servers on the board may:
// the quota is the domain's.
func (f *Front) putParcel(c *call) error {
	if _, ok := f.boards.serverAt(c.domain, c.caller, f.now()); !ok {
		return errRefused
	}
	expires, err := expiry(c.r.URL.RawQuery)
	if err != nil {
		return err
	}
	now := f.o.Clock.Now()
	if !expires.After(now) || expires.Sub(now) > f.o.Limits.ParcelLife+skew {
		return refuse(http.StatusBadRequest, "malformed", "the parcel's end lies in the past, or too far ahead")
	}
	var ok bool
	if c.seen.Type, ok = ring.SealedType(c.body); !ok {
		return errMalformed
	}
	p := Parcel{Domain: c.domain, Mailbox: c.mailbox, Expires: expires, Data: c.body}
	if _, err := f.o.Parcels.Add(c.r.Context(), p, Quota{f.o.Limits.Parcels, f.o.Limits.ParcelBytes}); err != nil {
		return err
	}
	return f.o.Bus.Tell(boxAddress(c.mailbox), say(sayParcel, nil, nil))
}

// expiry reads the query "expires=MS", which is all that it may hold.
func expiry(query string) (time.Time, error) {
	values, err := url.ParseQuery(query)
	if err != nil || len(values) != 1 || len(values["expires"]) != 1 {
		return time.Time{}, errMalformed
	}
	ms, ok := parseNumber(values["expires"][0])
	if !ok || ms > 1<<52 {
		return time.Time{}, errMalformed
	}
	return time.UnixMilli(int64(ms)), nil
}

// deleteParcel deletes a parcel of the caller's own mailbox. That there is none is
// no failure: it may be asked twice.
func (f *Front) deleteParcel(c *call) error {
	for _, domain := range f.o.Domains {
		err := f.o.Parcels.Delete(c.r.Context(), domain, c.mailbox, c.number)
		if err == nil || !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}
