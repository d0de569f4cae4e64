// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"claviger/internal/clock"
	"claviger/internal/relay/ring"
	"claviger/internal/wire"
)

// FuzzSaid: what is said on the bus is taken apart into what it was put together
// from, or refused.
func FuzzSaid(f *testing.F) {
	f.Add(say(sayRequest, make([]byte, correlationSize), []byte("data")))
	f.Add(say(sayTakeover, make([]byte, instanceSize), nil))
	f.Add(say(sayParcel, nil, nil))
	f.Add(say(sayTokens, make([]byte, 32), wire.Marshal([]wire.Hash{{1}})))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, message []byte) {
		s, ok := parseSaid(message)
		if ok && !bytes.Equal(say(s.kind, s.id, s.data), message) {
			t.Errorf("%x became %+v", message, s)
		}
		x := newReceiver(2, "https://relay.example:8444")
		replied := 0
		x.hear(Message{Data: message, Reply: func([]byte) { replied++ }})
		x.end()
		if asked := ok && s.kind == sayRequest; asked != (replied == 1) {
			t.Errorf("%x: %d replies", message, replied)
		}
	})
}

// FuzzKey: a key of the table names one record, in one spelling.
func FuzzKey(f *testing.F) {
	f.Add(keyOf(wire.DomainID{1}, recordTokens, wire.ServerID{2}))
	f.Add("..")
	f.Fuzz(func(t *testing.T, key string) {
		if d, kind, s, err := parseKey(key); err == nil && keyOf(d, kind, s) != key {
			t.Errorf("%q", key)
		}
	})
}

// FuzzRecord: whatever stands in the table, no process falls over it.
func FuzzRecord(f *testing.F) {
	d, s := wire.DomainID{1}, wire.ServerID{2}
	f.Add(recordTokens, wire.Marshal(openedRecord{Hashes: []wire.Hash{{1}}}))
	f.Add(recordIntroduction, wire.Marshal(wire.Introduction{Descriptor: []byte("d"), Members: [][]byte{{1}}}))
	f.Add(recordStatement, []byte{0x80})
	f.Fuzz(func(t *testing.T, kind string, value []byte) {
		b := newBoards([]wire.DomainID{d})
		for n := range 2 {
			_ = b.apply(Record{Key: keyOf(d, kind, s), Value: value, Revision: uint64(n + 1)}, 1)
		}
		b.introductions(d, 1)
		b.statements(d, 1)
		b.dump(d, true)
		b.forget(keyOf(d, kind, s), 2)
	})
}

// FuzzProof: no header proves a mailbox but a signature made for this request.
func FuzzProof(f *testing.F) {
	f.Add("Claviger AAAA", "/v1/health", "relay")
	f.Add("Claviger "+base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0x84}, 100)), "/", "")
	front := &Front{o: Options{Clock: clock.System()}}
	f.Fuzz(func(t *testing.T, header, target, host string) {
		r := &http.Request{Method: "GET", RequestURI: target, Host: host, Header: http.Header{"Authorization": {header}}}
		if p, err := front.prove(r); err == nil {
			t.Errorf("%q proves %v", header, p)
		}
	})
}

// FuzzPath: a path leads to one route, whose parameters are spelt in one way.
func FuzzPath(f *testing.F) {
	front := &Front{routes: routes(), boards: newBoards([]wire.DomainID{{}})}
	id := strings.Repeat("00", 32)
	f.Add("GET", "/v1/board/"+id+"/follow")
	f.Add("DELETE", "/v1/mailbox/"+id+"/parcels/7")
	f.Add("PUT", "/v1/board/"+id+"/parcels/"+id)
	f.Fuzz(func(t *testing.T, method, path string) {
		c := &call{r: &http.Request{Method: method, URL: &url.URL{Path: path}}, seen: &ring.Passed{}}
		found, err := front.find(c)
		if err != nil {
			return
		}
		again := strings.NewReplacer("{domain}", c.domain.String(), "{correlation}", c.mailbox.String(), "{mailbox}", c.mailbox.String()).Replace(found.path)
		if again = strings.Replace(again, "{number}", wantNumber(c.number), 1); again != path || found.method != method {
			t.Errorf("%s %q was taken for %s %q", method, path, found.method, again)
		}
	})
}

func wantNumber(n uint64) string {
	var digits []byte
	for ; n > 0 || len(digits) == 0; n /= 10 {
		digits = append([]byte{byte('0' + n%10)}, digits...)
	}
	return string(digits)
}

// FuzzShown: what is read from strangers' messages can be shown on a terminal.
func FuzzShown(f *testing.F) {
	f.Add(wire.Marshal(wire.Sealed{Type: wire.TypeRequest}))
	f.Add(wire.Marshal(wire.TypeAck))
	f.Add([]byte("\x83\x78"))
	f.Add([]byte("expires=1"))
	f.Fuzz(func(t *testing.T, message []byte) {
		kind, _ := ring.SealedType(message)
		for _, shown := range []string{kind, ring.OuterType(message)} {
			if len(shown) > ring.MaxType || strings.ContainsFunc(shown, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("%q is shown of %x", shown, message)
			}
		}
		if at, err := expiry(string(message)); err == nil && at.UnixMilli() < 0 {
			t.Errorf("%q is %v", message, at)
		}
		_, _ = parseTokens(message)
	})
}
