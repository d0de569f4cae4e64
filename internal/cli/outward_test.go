// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"claviger/internal/admin"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// TestAddReach: an invite names relays beside what it has, and the ports of this
// machine only where there is nothing else.
func TestAddReach(t *testing.T) {
	token := make([]byte, wire.SendTokenSize)
	local := []string{"127.0.0.1:8443", "localhost:1", "[::1]:8443"}
	cases := []struct{ have, relays, want []string }{
		{local, nil, local},
		{local, []string{"https://relay.example"}, []string{"https://relay.example:8444"}},
		{[]string{"10.0.0.1:8443", "127.0.0.1:8443"}, []string{"file:///mnt/share"}, []string{"10.0.0.1:8443", "file:///mnt/share"}},
	}
	for _, c := range cases {
		invite := wire.Invite{Addresses: slices.Clone(c.have)}
		if err := addReach(&invite, c.relays, token); err != nil || !slices.Equal(invite.Addresses, c.want) {
			t.Errorf("%v: %v", invite.Addresses, err)
		}
		if len(c.relays) > 0 && !bytes.Equal(invite.SendToken, token) {
			t.Error("no send token")
		}
	}
	for _, bad := range [][]string{{"no address"}, slices.Repeat([]string{"https://r"}, maxRelays+1)} {
		if err := addReach(&wire.Invite{}, bad, token); !errors.Is(err, admin.ErrIntegrity) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if err := addReach(&wire.Invite{}, []string{"https://r"}, nil); !errors.Is(err, admin.ErrIntegrity) {
		t.Errorf("no token: %v", err)
	}
}

// TestServerWithoutAPort: it says where it stands, is found there, and listens on
// no port.
func TestServerWithoutAPort(t *testing.T) {
	s := ground(t)
	want(t, "exit status", s.run(t, s.initArgs()...), 0)
	share := transport.Address{Kind: transport.KindDirectory, Path: t.TempDir()}
	s.configure(t, `listen = "127.0.0.1:0"`, `listen = ""`+"\n"+`relay = ["`+share.String()+`"]`)
	live := s.serve(t)
	wantIn(t, "output", live.out.String(), "Serving example.org on "+share.String()+", unsealed")
	config, err := readServerConfig(s.path("server"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := transport.NewDirectory(share, config.domain(), transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var found [][]byte
	for late := time.Now().Add(time.Minute); len(found) == 0 && time.Now().Before(late); {
		if found, err = d.Introductions(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(found) != 1 {
		t.Fatal("the server is not at the directory")
	}
	want(t, "exit status", live.stop(), 0)
}
