// SPDX-License-Identifier: Apache-2.0

package localrpc

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func abstractName(t *testing.T) string {
	return "@claviger-test-" + strconv.Itoa(os.Getpid()) + "-" + filepath.Base(t.TempDir())
}

func TestAbstractSocket(t *testing.T) {
	name := abstractName(t)
	serveAt(t, &Server{Methods: map[string]Method{"/s/Echo": echo}}, "unix:///"+name)
	if got, err := Call(t.Context(), name, "/s/Echo", []byte("x")); err != nil || string(got) != "x" {
		t.Errorf("Call = %q, %v", got, err)
	}
	if _, err := Listen(Socket{Address: name, Group: -1}); err == nil {
		t.Error("two listen on one name")
	}
	if _, err := Listen(Socket{Address: name + "x", Group: 0}); err == nil {
		t.Error("a group is taken for a name that has no mode")
	}
}

// TestStrangersAreTurnedAway: the abstract kind has no mode, so the kernel's word on the
// peer is what keeps others out.
func TestStrangersAreTurnedAway(t *testing.T) {
	inner, err := net.Listen("unix", abstractName(t))
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan int, 2)
	first := true
	l := bounded(inner, func(uid int) bool {
		asked <- uid
		turned := first
		first = false
		return !turned
	})
	defer l.Close()
	stranger, err := net.Dial("unix", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	friend, err := net.Dial("unix", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer friend.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if uid := <-asked; uid != os.Getuid() {
		t.Errorf("the kernel says user %d", uid)
	}
	stranger.Write([]byte("s")) // wherever it goes
	if _, err := friend.Write([]byte("f")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1)
	if _, err := conn.Read(got); err != nil || got[0] != 'f' {
		t.Errorf("who was let in says %q, %v", got, err)
	}
}
