// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"bytes"
	"net/http"
	"testing"

	"claviger/client"
	"claviger/internal/authority"
	"claviger/internal/testkit"
	"claviger/internal/testkit/hostile"
	"claviger/internal/wire"
)

func TestRouteOf(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/health":                        "health",
		"/v1/board/ab/introductions":        hostile.Introductions,
		"/v1/board/ab/introduction":         hostile.PutIntroduction,
		"/v1/board/ab/parcels/cd?expires=1": hostile.Parcels,
		"/v1/mailbox/ab/exchange":           hostile.Exchange,
		"/v1/mailbox/ab/parcels/7":          hostile.Parcels,
		"/v1/answer/ab":                     hostile.Answer,
	} {
		if got := hostile.RouteOf(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

// TestRelay: honest, every leg of a conversation passes and is seen; a script, a
// change of frames and an answer of a test's own each reach who they are meant for.
func TestRelay(t *testing.T) {
	var x *hostile.Relay
	d := testkit.New(t, testkit.Options{Relays: func(id wire.DomainID) []string {
		x = hostile.New(t, hostile.Options{}, id)
		return []string{x.Address}
	}})
	d.CreateKey("k", authority.AES256)
	p := d.Enroll("app1")
	d.Allow("app1", "k")
	encrypt := func() error {
		_, err := d.Dial(p).Encrypt(t.Context(), "k", []byte("x"), client.EncryptOptions{})
		return err
	}
	if err := encrypt(); err != nil {
		t.Fatal(err)
	}
	for _, route := range []string{
		hostile.Introductions, hostile.Statements, hostile.Exchange, hostile.Receive, hostile.Answer,
		hostile.PutIntroduction, hostile.PutStatement, hostile.PutTokens,
	} {
		if len(x.Seen(route)) == 0 {
			t.Errorf("nothing of %s was seen", route)
		}
	}
	asked, got := x.Seen(hostile.Exchange), x.Seen(hostile.Receive)
	last := asked[len(asked)-1]
	handed, err := wire.ParseDelivery(got[len(got)-1].Answer)
	if err != nil || last.Token == "" || len(last.Answer) == 0 || !bytes.Equal(handed.Data, last.Question) {
		t.Errorf("what was asked is not what was handed on: %v", err)
	}
	broken := func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer { return testkit.Answer{} }
	for name, trouble := range map[string]func(){
		"a script": func() { x.On(hostile.Exchange, broken) },
		"a frame": func() {
			x.Frames(hostile.Receive, func(frame []byte) [][]byte {
				d, err := wire.ParseDelivery(frame)
				if err != nil {
					return nil
				}
				d.Data = d.Data[:len(d.Data)-1]
				return [][]byte{wire.Marshal(*d)}
			})
		},
		"a handler": func() {
			x.Instead(hostile.Introductions, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
		},
		"a board": func() {
			x.On(hostile.Introductions, func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
				a := forward(m)
				a.Body = wire.Marshal([][]byte{})
				return a
			})
		},
	} {
		trouble()
		if err := encrypt(); err == nil {
			t.Errorf("%s was of no effect", name)
		}
		x.Honest()
		d.Await()
		if err := encrypt(); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}
