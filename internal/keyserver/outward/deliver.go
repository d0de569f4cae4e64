// SPDX-License-Identifier: Apache-2.0

package outward

import (
	"context"
	"errors"
	"time"

	"claviger/internal/keyserver/standing"
	"claviger/internal/wire"
)

type parcels interface {
	PutParcel(ctx context.Context, to wire.Hash, expires time.Time, sealed []byte) error
}

// Deliver puts a parcel at every carrier at once. It returns nil when one has it:
// clients look at each, and what the others missed costs them a question.
func Deliver(ctx context.Context, carriers []Carrier, p standing.Parcel) error {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	ended := make(chan error, len(carriers))
	for _, c := range carriers {
		go func() { ended <- c.PutParcel(ctx, p.To, time.UnixMilli(p.Expires), p.Sealed) }()
	}
	var failed []error
	for range carriers {
		if err := <-ended; err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == len(carriers) {
		return errors.Join(failed...)
	}
	return nil
}
