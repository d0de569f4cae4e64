// SPDX-License-Identifier: Apache-2.0

package natsbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"claviger/internal/relay"
)

// Put writes a record over the revision that it names.
func (b *Bus) Put(ctx context.Context, r relay.Record, life time.Duration) (uint64, error) {
	msg := &nats.Msg{Subject: boardSubject + r.Key, Data: r.Value}
	var ack *jetstream.PubAck
	err := patiently(ctx, func(ctx context.Context) (err error) {
		ack, err = b.stream.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(r.Revision), jetstream.WithMsgTTL(wholeSeconds(life)))
		return err
	})
	if isAPI(err, jetstream.JSErrCodeStreamWrongLastSequence) || isAPI(err, jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return 0, relay.ErrConflict
	}
	if err := asQuota(err); err != nil {
		return 0, fmt.Errorf("write %s to NATS: %w", r.Key, err)
	}
	return ack.Sequence, nil
}

// Get reads the newest record of a key.
func (b *Bus) Get(ctx context.Context, key string) (relay.Record, error) {
	var msg *jetstream.RawStreamMsg
	err := patiently(ctx, func(ctx context.Context) (err error) {
		msg, err = b.board.GetLastMsgForSubject(ctx, boardSubject+key)
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return relay.Record{}, relay.ErrNotFound
	}
	if err != nil {
		return relay.Record{}, fmt.Errorf("read %s from NATS: %w", key, err)
	}
	return relay.Record{Key: key, Value: msg.Data, Revision: msg.Sequence}, nil
}

// Watch tells every record and each change of one.
func (b *Bus) Watch(ctx context.Context, each func(relay.Record)) error {
	present, err := b.board.Info(ctx)
	if err != nil {
		return fmt.Errorf("watch NATS: %w", err)
	}
	consumer, err := b.board.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy})
	if err != nil {
		return fmt.Errorf("watch NATS: %w", err)
	}
	caught := make(chan struct{})
	waiting := present.State.Msgs > 0
	if !waiting {
		close(caught)
	}
	running, err := consumer.Consume(func(msg jetstream.Msg) {
		meta, err := msg.Metadata()
		if err != nil {
			return // no message of the stream
		}
		each(relay.Record{Key: strings.TrimPrefix(msg.Subject(), boardSubject), Value: msg.Data(), Revision: meta.Sequence.Stream})
		if waiting && meta.NumPending == 0 {
			waiting = false
			close(caught)
		}
	})
	if err != nil {
		return fmt.Errorf("watch NATS: %w", err)
	}
	context.AfterFunc(ctx, running.Stop)
	select {
	case <-caught:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(starting): // what was there has expired meanwhile
	}
	return nil
}

// wholeSeconds rounds up: NATS keeps no shorter lives, and takes 0 for "for ever".
func wholeSeconds(d time.Duration) time.Duration {
	return max((d + time.Second - 1).Truncate(time.Second), time.Second)
}

// Codes of the NATS server for which its client has no name.
const (
	codeStoreFailed = 10077 // also where a stream's bound is reached; the text tells which
	codeNoStorage   = 10047
)

func isAPI(err error, code jetstream.ErrorCode) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && e.ErrorCode == code
}

// asQuota tells a stream that is full from one that fails.
func asQuota(err error) error {
	if isAPI(err, codeNoStorage) {
		return relay.ErrQuota
	}
	if e, ok := errors.AsType[*jetstream.APIError](err); ok && e.ErrorCode == codeStoreFailed && strings.Contains(e.Description, "maximum") {
		return relay.ErrQuota
	}
	return err
}
