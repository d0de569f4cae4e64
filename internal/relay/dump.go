// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"claviger/internal/relay/ring"
	"claviger/internal/wire"
)

// Dump is all that a relay process holds and remembers. Raw fields hold the bytes
// themselves, if they were asked for; those of parcels are fetched one by one.
type Dump struct {
	Version   string        `json:"version"`
	At        time.Time     `json:"at"`
	Domains   []DomainDump  `json:"domains"`
	Receivers []Receiver    `json:"receivers"`
	Followers int           `json:"followers"`
	UnderWay  int           `json:"under_way"` // requests that wait for an answer
	Passed    []ring.Passed `json:"passed"`    // the oldest first
}

// DomainDump is what is kept of one domain.
type DomainDump struct {
	Domain  string       `json:"domain"`
	Servers []ServerDump `json:"servers"`
	Parcels []ParcelDump `json:"parcels"`
}

// ServerDump is what one server has put.
type ServerDump struct {
	Server       string      `json:"server"`
	Mailbox      string      `json:"mailbox,omitempty"`
	Introduction *PieceDump  `json:"introduction,omitempty"`
	Statement    *PieceDump  `json:"statement,omitempty"`
	Tokens       *TokensDump `json:"tokens,omitempty"`
}

// PieceDump is a public, signed message.
type PieceDump struct {
	Issued   time.Time  `json:"issued"`
	NotAfter *time.Time `json:"not_after,omitempty"`
	Size     int        `json:"size_bytes"`
	Raw      []byte     `json:"raw,omitempty"`
}

// TokensDump is what is known of send tokens: their hashes.
type TokensDump struct {
	Mailbox string   `json:"mailbox"`
	Hashes  []string `json:"hashes"`
}

// ParcelDump is a sealed message at rest.
type ParcelDump struct {
	Mailbox string    `json:"mailbox"`
	Number  uint64    `json:"number"`
	Expires time.Time `json:"expires"`
	Type    string    `json:"type"`
	Size    int       `json:"size_bytes"`
	Raw     []byte    `json:"raw,omitempty"`
}

// Dump collects everything.
func (f *Front) Dump(ctx context.Context, raw bool) (*Dump, error) {
	d := &Dump{
		Version: Version(), At: f.o.Clock.Now().UTC(), Receivers: f.reading(), Followers: int(f.followers.Load()),
		UnderWay: f.underWay.Running(), Passed: f.ring.All(), Domains: []DomainDump{},
	}
	for _, domain := range f.o.Domains {
		parcels, err := f.dumpParcels(ctx, domain)
		if err != nil {
			return nil, err
		}
		d.Domains = append(d.Domains, DomainDump{domain.String(), f.boards.dump(domain, raw), parcels})
	}
	return d, nil
}

func (f *Front) dumpParcels(ctx context.Context, domain wire.DomainID) ([]ParcelDump, error) {
	out := []ParcelDump{}
	for after := uint64(0); ; {
		p, err := f.o.Parcels.Next(ctx, domain, wire.Hash{}, after)
		if errors.Is(err, ErrNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		after = p.Number
		kind, _ := ring.SealedType(p.Data)
		out = append(out, ParcelDump{Mailbox: p.Mailbox.String(), Number: p.Number, Expires: p.Expires.UTC(), Type: kind, Size: len(p.Data)})
	}
}

// dump lists all seats, also those of servers that are not shown to others.
func (b *boards) dump(domain wire.DomainID, raw bool) []ServerDump {
	b.mu.RLock()
	defer b.mu.RUnlock()
	out := []ServerDump{}
	for id, s := range b.domains[domain].seats {
		d := ServerDump{Server: id.String()}
		if in := s.introduced; in != nil {
			end := time.UnixMilli(in.descriptor.NotAfter).UTC()
			d.Mailbox = in.descriptor.Mailbox.String()
			d.Introduction = piece(in.raw, in.descriptor.Issued, raw)
			d.Introduction.NotAfter = &end
		}
		if s.stated != nil {
			d.Statement = piece(s.stated.raw, s.stated.issued, raw)
		}
		if s.opened != nil {
			d.Tokens = &TokensDump{Mailbox: s.opened.mailbox.String()}
			for _, h := range s.opened.hashes {
				d.Tokens.Hashes = append(d.Tokens.Hashes, h.String())
			}
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(x, y ServerDump) int { return strings.Compare(x.Server, y.Server) })
	return out
}

func piece(data []byte, issued int64, raw bool) *PieceDump {
	p := &PieceDump{Issued: time.UnixMilli(issued).UTC(), Size: len(data)}
	if raw {
		p.Raw = data
	}
	return p
}

// Control is the handler of the control socket: GET /dump, with ?raw=true for the
// bytes on the boards, and GET /parcel/DOMAIN/NUMBER for those of a parcel. Who may
// open that file may see all that the relay has: its mode is the credential.
func (f *Front) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /dump", func(w http.ResponseWriter, r *http.Request) {
		d, err := f.Dump(r.Context(), r.URL.Query().Get("raw") == "true")
		if err != nil {
			controlFail(w, err)
			return
		}
		writeJSON(w, http.StatusOK, struct {
			Schema int `json:"schema"`
			*Dump
		}{1, d})
	})
	mux.HandleFunc("GET /parcel/{domain}/{number}", func(w http.ResponseWriter, r *http.Request) {
		domain, ok := parseHash(r.PathValue("domain"))
		number, isNumber := parseNumber(r.PathValue("number"))
		if !ok || !isNumber || number == 0 {
			fail(w, classify(errNoRoute))
			return
		}
		p, err := f.o.Parcels.Next(r.Context(), wire.DomainID(domain), wire.Hash{}, number-1)
		if err == nil && p.Number != number {
			err = ErrNotFound
		}
		if err != nil {
			controlFail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/cbor")
		_, _ = w.Write(p.Data) // the caller has gone; nothing to tell it
	})
	return mux
}

// controlFail may say everything: whoever may open the socket owns the relay.
func controlFail(w http.ResponseWriter, err error) {
	t := *classify(err)
	t.message = err.Error()
	fail(w, &t)
}
