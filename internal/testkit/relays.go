// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"claviger/internal/keyserver"
	"claviger/internal/keyserver/outward"
	"claviger/internal/members"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// outside is how the domain stands at relays and directories.
type outside struct {
	addresses []string
	mailbox   *transport.Mailbox
	asking    []asker // as clients
}

type asker interface {
	Introductions(ctx context.Context) ([][]byte, error)
	Exchange(ctx context.Context, to transport.Peer, sealed []byte) ([]byte, error)
}

// Addresses are where workloads find the domain: its relays and directories if it
// has any, else the server's port.
func (d *Domain) Addresses() []string {
	if d.outside != nil {
		return d.outside.addresses
	}
	return []string{d.Address}
}

// carriers has the next server stand where Options.Relays says, with a new mailbox.
func (d *Domain) carriers(o *keyserver.Options) (out []outward.Carrier, err error) {
	if d.o.Relays == nil {
		return nil, nil
	}
	if d.outside == nil {
		d.outside = &outside{addresses: d.o.Relays(d.Founded.Domain)}
		for _, text := range d.outside.addresses {
			w, err := d.way(text)
			if err != nil {
				return nil, err
			}
			d.outside.asking = append(d.outside.asking, w.(asker))
		}
	}
	d.outside.mailbox = transport.NewMailbox()
	for _, text := range d.outside.addresses {
		w, err := d.way(text)
		if err != nil {
			return nil, err
		}
		switch w := w.(type) {
		case *transport.Relay:
			out = append(out, w.As(d.outside.mailbox))
		case *transport.Directory:
			out = append(out, w.As(d.outside.mailbox))
		}
	}
	o.Mailbox, o.Reach = d.outside.mailbox.ID(), d.outside.addresses
	return out, nil
}

// way makes a relay or directory of an address.
func (d *Domain) way(text string) (any, error) {
	a, err := transport.ParseAddress(text)
	if err != nil {
		return nil, err
	}
	o := transport.Options{Clock: d.o.Clock}
	if a.Kind == transport.KindDirectory {
		return transport.NewDirectory(a, d.Founded.Domain, o)
	}
	r, err := transport.NewRelay(a, d.Founded.Domain, o)
	if err == nil {
		d.tb.Cleanup(r.Close)
	}
	return r, err
}

// Await waits until the server answers at each relay and directory.
func (d *Domain) Await() {
	d.tb.Helper()
	if d.outside == nil {
		return
	}
	deadline := time.After(time.Minute)
	for _, w := range d.outside.asking {
		for {
			// No server can open this, and says so.
			nonsense := wire.Marshal(wire.Sealed{Type: wire.TypeRequest, Enc: make([]byte, 1120), CT: make([]byte, 64)})
			a := d.carry(w, nonsense)
			if a.Status == http.StatusBadRequest && d.introduced(w) {
				break
			}
			select {
			case <-deadline:
				d.tb.Fatalf("the server isn't at its relay after a minute: %d %s", a.Status, a.Body)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// introduced reports whether a relay or directory shows the server as it runs now.
func (d *Domain) introduced(w asker) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	list, err := w.Introductions(ctx)
	return err == nil && slices.ContainsFunc(list, func(data []byte) bool {
		in, err := wire.ParseIntroduction(data)
		if err != nil {
			return false
		}
		own, err := wire.ParseDescriptor(in.Descriptor, d.ServerKey())
		return err == nil && own.Mailbox == d.outside.mailbox.ID()
	})
}

// SendToken opens the server's mailbox; nil without relays.
func (d *Domain) SendToken() []byte {
	d.tb.Helper()
	if d.outside == nil {
		return nil
	}
	answer := d.Ask(d.Admins[0], Message{Method: "GET", Path: "/v1/admin/reach"})
	var reach struct {
		SendToken []byte `json:"send_token"`
	}
	if answer.Status != 200 {
		d.tb.Fatalf("reach: %d %s", answer.Status, answer.Body)
	}
	d.must(json.Unmarshal(answer.Body, &reach))
	return reach.SendToken
}

// carry sends a sealed message over a relay or directory.
func (d *Domain) carry(w asker, sealed []byte) Answer {
	return d.carryTo(w, d.outside.mailbox.ID(), sealed)
}

func (d *Domain) carryTo(w asker, mailbox wire.Hash, sealed []byte) Answer {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	answer, err := w.Exchange(ctx, transport.Peer{Mailbox: mailbox, Token: d.token}, sealed)
	if e, ok := errors.AsType[*transport.Error](err); ok {
		return Answer{Status: e.Status, Body: []byte(e.Code + ": " + e.Message)}
	}
	if err != nil {
		return Answer{}
	}
	return Answer{Status: http.StatusOK, Body: answer}
}

// Carry sends a sealed message as clients do: over the first relay or directory.
func (d *Domain) Carry(sealed []byte) Answer { return d.carry(d.outside.asking[0], sealed) }

// CarryTo is Carry to any mailbox, with this domain's send token.
func (d *Domain) CarryTo(mailbox wire.Hash, sealed []byte) Answer {
	return d.carryTo(d.outside.asking[0], mailbox, sealed)
}

// shown waits until each relay or directory shows the present membership. A board
// lags a moment behind the log, and whoever has seen more elsewhere believes no
// older one.
func (d *Domain) shown() {
	d.tb.Helper()
	if d.outside == nil {
		return
	}
	state := d.State().Members
	if _, err := state.ServerKey(d.Founded.Server); err != nil {
		return // a server that is fenced says nothing more
	}
	newest := state.Newest
	deadline := time.After(time.Minute)
	for _, w := range d.outside.asking {
		for !d.shows(w, newest) {
			select {
			case <-deadline:
				d.tb.Fatal("the relay doesn't show the present membership after a minute")
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

func (d *Domain) shows(w asker, newest wire.Hash) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	list, err := w.Introductions(ctx)
	for _, data := range list {
		in, bad := wire.ParseIntroduction(data)
		if err != nil || bad != nil {
			return false
		}
		if state, err := members.Verify(in.Members, d.Founded.Domain); err == nil && state.Newest == newest {
			return true
		}
	}
	return false
}

// StandAt has the server stand at relays and directories from now on; it is started
// again. Profiles made before know its port alone, until they are dialled elsewhere.
func (d *Domain) StandAt(addresses ...string) {
	d.tb.Helper()
	d.outside, d.o.Relays = nil, func(wire.DomainID) []string { return addresses }
	d.Restart()
}

// Twin runs a second server from a copy of the data directory, at the same relays,
// as whoever puts a machine's snapshot up beside the machine. It has a port of its
// own.
func (d *Domain) Twin(dir string) *Domain {
	d.tb.Helper()
	t := &Domain{tb: d.tb, o: d.o, unlock: d.unlock, Dir: dir, Admins: d.Admins, Founded: d.Founded}
	if d.outside != nil {
		addresses := d.outside.addresses
		t.o.Relays = func(wire.DomainID) []string { return addresses }
	}
	t.Start()
	d.tb.Cleanup(func() {
		if t.Server != nil {
			t.Stop()
		}
	})
	return t
}
