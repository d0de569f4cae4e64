// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/testkit"
)

const (
	key    = "k8s/prod"
	canary = "a canary in a Secret"
)

// plugin runs claviger k8s-kms and waits until its socket answers.
func plugin(t *testing.T, p programs, profile, socket string) *process {
	t.Helper()
	out := run(t, p.claviger, "k8s-kms", "--profile", profile, "--key", key, "--socket", socket)
	end := time.After(time.Minute)
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return out
		}
		select {
		case <-out.done:
			out.show()
			t.Fatal("the plugin ended")
		case <-end:
			t.Fatal("the plugin doesn't listen")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestKubeAPIServer: a Secret that a real API server writes is ciphertext in etcd, and
// opens after restarts of the API server and of the plugin, and after a rotation. With
// the key switched off the API server says why it isn't well and, from its next start
// on, reads nothing; with the key back it recovers.
func TestKubeAPIServer(t *testing.T) {
	p := build(t)
	d := testkit.New(t, testkit.Options{})
	d.CreateKey(key, authority.AES256)
	profile := d.Enroll("cp1")
	d.Allow(testkit.ID("cp1"), key)
	socket := filepath.Join(t.TempDir(), "s")
	first := plugin(t, p, profile.Dir, socket)
	c := newCluster(t, p, socket)
	c.ready()

	c.create("one", canary)
	id := d.Key(key).ID
	named := func(version int) []byte {
		return fmt.Appendf(nil, "claviger/%s/%d", hex.EncodeToString(id[:]), version)
	}
	stored := c.stored("one")
	if !bytes.HasPrefix(stored, []byte("k8s:enc:kms:v2:claviger:")) || bytes.Contains(stored, []byte(canary)) || !bytes.Contains(stored, named(1)) {
		t.Errorf("etcd holds %.200q", stored)
	}
	reads := func(when, name string) {
		t.Helper()
		if got, err := c.read(name); err != nil || got != canary {
			t.Errorf("%s: %q, %v", when, got, err)
		}
	}
	reads("at first", "one")
	first.stop()
	second := plugin(t, p, profile.Dir, socket)
	c.restart()
	c.ready()
	reads("after a restart of both", "one")

	d.Rotate(key)
	c.create("two", canary)
	c.await("the new version is used", func() error {
		if err := c.rewrite("two", canary); err != nil || bytes.Contains(c.stored("two"), named(2)) {
			return err
		}
		return errors.New("a Secret was written under the older version")
	})
	reads("under the new version", "two")
	reads("of the older version", "one")
	if err := c.rewrite("one", canary); err != nil || !bytes.Contains(c.stored("one"), named(2)) {
		t.Errorf("rewriting: %v", err)
	}

	d.Propose(authority.KindKeyDisable, authority.KeyRef{ID: id, Reason: "test"})
	unwell := func() error {
		for _, path := range []string{"/healthz/kms-providers", "/readyz/kms-providers"} {
			if status, body := c.ask("GET", path, nil); status != 500 || !strings.Contains(body, "the key is disabled") {
				return fmt.Errorf("%s: HTTP status %d %s", path, status, body)
			}
		}
		return nil
	}
	c.await("it says that the key is disabled", unwell)
	reads("with the seed that it remembers", "one")
	// It coasts for three minutes from when it last heard the key's name.
	written := 0
	c.await("it writes no more", func() error {
		written++
		if err := c.rewrite("two", fmt.Sprint(canary, written)); err != nil {
			return nil
		}
		return errors.New("a Secret was written with a disabled key")
	})
	if err := unwell(); err != nil {
		t.Error(err) // it doesn't write for another reason
	}
	c.restart()
	c.await("it says so after a restart", unwell)
	for _, name := range []string{"one", "two"} {
		if got, err := c.read(name); err == nil {
			t.Errorf("without the key it reads %q", got)
		}
	}
	if status, body := c.ask("POST", secrets, secretOf("dark", canary)); status < 400 && status != 0 {
		t.Errorf("without the key it writes: HTTP status %d %s", status, body)
	}

	d.Propose(authority.KindKeyEnable, authority.KeyRef{ID: id, Reason: "test"})
	c.ready()
	c.await("it reads again", func() error {
		_, err := c.read("one")
		return err
	})
	reads("with the key back", "one")
	second.stop()
}
