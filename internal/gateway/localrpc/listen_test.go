// SPDX-License-Identifier: Apache-2.0

package localrpc

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"/run/a.sock": "/run/a.sock", "unix:///run/a.sock": "/run/a.sock", "@a": "@a", "unix:///@a": "@a", "unix://@a": "@a",
	} {
		if got, err := parseSocket(in); err != nil || got != want {
			t.Errorf("parseSocket(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "a.sock", "tcp://127.0.0.1:5000", "@", "/", "/" + strings.Repeat("a", 107), "/a\x00b"} {
		if _, err := parseSocket(in); !errors.Is(err, ErrSocket) {
			t.Errorf("parseSocket(%q) = %v", in, err)
		}
	}
}

// TestSocketMode: nobody else gets in, and with a group nobody but that.
func TestSocketMode(t *testing.T) {
	for group, want := range map[int]os.FileMode{-1: 0o600, os.Getgid(): 0o660} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := Listen(Socket{Address: path, Group: group})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("group %d: mode %v, %v", group, info.Mode(), err)
		}
	}
}

// TestStaleSocket: one that was left is replaced; one that lives, and what is no
// socket, is not.
func TestStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	l, err := Listen(Socket{Address: path, Group: -1})
	if err != nil {
		t.Fatalf("over a socket that was left: %v", err)
	}
	defer l.Close()
	if _, err := Listen(Socket{Address: path, Group: -1}); !errors.Is(err, ErrTaken) {
		t.Errorf("over a socket in use: %v", err)
	}
	file := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Socket{Address: file, Group: -1}); err == nil {
		t.Error("over a file")
	}
	if got, err := os.ReadFile(file); string(got) != "x" {
		t.Errorf("the file holds %q, %v", got, err)
	}
}

// TestConnectionsAreBounded: who opens more than there may be waits, and is served when
// one is gone.
func TestConnectionsAreBounded(t *testing.T) {
	path := start(t, &Server{Methods: map[string]Method{"/s/Echo": echo}})
	var held []net.Conn
	for range maxConns {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := Call(t.Context(), path, "/s/Echo", nil)
		answered <- err
	}()
	held[0].Close()
	if err := <-answered; err != nil {
		t.Errorf("Call = %v", err)
	}
}
