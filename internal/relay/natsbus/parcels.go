// SPDX-License-Identifier: Apache-2.0

package natsbus

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"claviger/internal/relay"
	"claviger/internal/wire"
)

// expiresHeader says when a parcel expires, in Unix milliseconds.
const expiresHeader = "Claviger-Expires"

// subjectOf is where a mailbox's parcels lie, without their size.
func subjectOf(domain wire.DomainID, mailbox wire.Hash) string {
	return parcelSubject + domain.String() + "." + mailbox.String()
}

// Add keeps a parcel. The size stands in the subject, so that the server can say
// what lies in a mailbox without showing it. Two processes that add at the same
// moment can go beyond the quota by one parcel each; within a process they wait.
func (b *Bus) Add(ctx context.Context, p relay.Parcel, q relay.Quota) (uint64, error) {
	stream := b.parcels[p.Domain]
	if stream == nil {
		return 0, relay.ErrNotFound
	}
	lock := b.locks[int(p.Mailbox[0])%len(b.locks)]
	select {
	case lock <- struct{}{}:
		defer func() { <-lock }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	subject := subjectOf(p.Domain, p.Mailbox)
	count, bytes, err := b.lying(ctx, stream, subject)
	if err != nil {
		return 0, err
	}
	id := wire.Sum("parcel", p.Mailbox[:], p.Data)
	full := count >= q.Parcels || bytes+int64(len(p.Data)) > q.Bytes
	if full {
		return 0, relay.ErrQuota
	}
	msg := nats.NewMsg(subject + "." + strconv.Itoa(len(p.Data)))
	msg.Data = p.Data
	msg.Header.Set(expiresHeader, strconv.FormatInt(p.Expires.UnixMilli(), 10))
	life := p.Expires.Sub(b.clock.Now())
	var ack *jetstream.PubAck
	err = patiently(ctx, func(ctx context.Context) (err error) {
		ack, err = b.stream.PublishMsg(ctx, msg, jetstream.WithMsgID(id.String()), jetstream.WithMsgTTL(wholeSeconds(life)))
		return err
	})
	if err := asQuota(err); err != nil {
		return 0, fmt.Errorf("write parcel to NATS: %w", err)
	}
	return ack.Sequence, nil
}

// lying counts the parcels of a mailbox and their bytes.
func (b *Bus) lying(ctx context.Context, stream jetstream.Stream, subject string) (count int, bytes int64, err error) {
	var info *jetstream.StreamInfo
	err = patiently(ctx, func(ctx context.Context) (err error) {
		info, err = stream.Info(ctx, jetstream.WithSubjectFilter(subject+".*"))
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("count parcels in NATS: %w", err)
	}
	for s, n := range info.State.Subjects {
		size, err := strconv.Atoi(s[strings.LastIndexByte(s, '.')+1:])
		if err != nil {
			continue // none of ours
		}
		count += int(n)
		bytes += int64(n) * int64(size)
	}
	return count, bytes, nil
}

// Next finds a mailbox's next parcel.
func (b *Bus) Next(ctx context.Context, domain wire.DomainID, mailbox wire.Hash, after uint64) (relay.Parcel, error) {
	stream := b.parcels[domain]
	if stream == nil {
		return relay.Parcel{}, relay.ErrNotFound
	}
	subject := subjectOf(domain, mailbox) + ".*"
	if mailbox.IsZero() {
		subject = parcelSubject + domain.String() + ".*.*"
	}
	// Who reads for a mailbox has requests to carry too, and comes again.
	ctx, cancel := context.WithTimeout(ctx, oneTry)
	defer cancel()
	msg, err := stream.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return relay.Parcel{}, relay.ErrNotFound
	}
	if err != nil {
		return relay.Parcel{}, fmt.Errorf("read parcel from NATS: %w", err)
	}
	return parcelOf(domain, msg)
}

// parcelOf reads what lies in the stream.
func parcelOf(domain wire.DomainID, msg *jetstream.RawStreamMsg) (relay.Parcel, error) {
	p := relay.Parcel{Domain: domain, Number: msg.Sequence, Data: msg.Data}
	id, _, _ := strings.Cut(strings.TrimPrefix(msg.Subject, parcelSubject+domain.String()+"."), ".")
	raw, err := hex.DecodeString(id)
	expires, failed := strconv.ParseInt(msg.Header.Get(expiresHeader), 10, 64)
	if err != nil || failed != nil || len(raw) != len(p.Mailbox) {
		return p, errors.New("read parcel from NATS: it is none of the relay's")
	}
	p.Mailbox, p.Expires = wire.Hash(raw), time.UnixMilli(expires)
	return p, nil
}

// Delete deletes a parcel of this mailbox, overwriting nothing: what it held was
// sealed.
func (b *Bus) Delete(ctx context.Context, domain wire.DomainID, mailbox wire.Hash, number uint64) error {
	stream := b.parcels[domain]
	if stream == nil || number>>numberBits != firstNumber(domain)>>numberBits {
		return relay.ErrNotFound
	}
	msg, err := stream.GetMsg(ctx, number)
	// Security: a number is guessed easily; only the subject says whose it is (T-66).
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && !strings.HasPrefix(msg.Subject, subjectOf(domain, mailbox)+".") {
		return relay.ErrNotFound
	}
	if err == nil {
		err = stream.DeleteMsg(ctx, number)
	}
	if err != nil {
		return fmt.Errorf("delete parcel in NATS: %w", err)
	}
	return nil
}
