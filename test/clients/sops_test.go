// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/gateway/sopskms"
	"claviger/internal/testkit"
)

// buildSops builds the program that people run, of the version in go.mod.
func buildSops(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sops")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/getsops/sops/v3/cmd/sops").CombinedOutput(); err != nil {
		t.Fatalf("build sops: %v\n%s", err, out)
	}
	return path
}

// sops is the program in a directory of its own.
type sops struct {
	t            *testing.T
	path, dir    string
	keyservice   string
	stdout, said string // of the last run
}

func (s *sops) run(args ...string) error {
	s.t.Helper()
	args = append([]string{"--enable-local-keyservice=false", "--keyservice", "unix://" + s.keyservice}, args...)
	cmd := exec.CommandContext(s.t.Context(), s.path, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"HOME=" + s.dir, "PATH=/nowhere"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	s.stdout = out.String()
	// sops breaks lines of messages and puts a bar before each.
	s.said = strings.Join(strings.Fields(strings.ReplaceAll(errs.String(), "|", "")), " ")
	return err
}

func (s *sops) must(args ...string) {
	s.t.Helper()
	if err := s.run(args...); err != nil {
		s.t.Fatalf("sops %s: %v\n%s", strings.Join(args, " "), err, s.said)
	}
}

func (s *sops) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sops) file(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// TestSops: sops encrypts a file with a key of ours, decrypts it, also after a rotation
// and while no key server runs, gives it a new data key, and is refused with the key.
func TestSops(t *testing.T) {
	r := newRig(t, "files/prod")
	socket, stop := r.serve("sops-keyservice", "--key", "files/")
	s := &sops{t: t, path: buildSops(t), dir: t.TempDir(), keyservice: socket}
	s.write(".sops.yaml", "creation_rules:\n  - hc_vault_transit_uri: "+sopskms.URI("files/prod")+"\n")
	s.write("app.yaml", "password: a canary\nlist:\n  - 1\n")

	s.must("--encrypt", "--in-place", "app.yaml")
	sealed := s.file("app.yaml")
	for _, want := range []string{"vault_address: claviger://local", "engine_path: files", "key_name: prod", "enc: claviger:"} {
		if !strings.Contains(sealed, want) {
			t.Errorf("the file doesn't hold %q:\n%s", want, sealed)
		}
	}
	if strings.Contains(sealed, "canary") {
		t.Error("the file holds the plaintext")
	}
	reads := func(when string) {
		t.Helper()
		if err := s.run("--decrypt", "app.yaml"); err != nil || !strings.Contains(s.stdout, "password: a canary") {
			t.Errorf("%s: %v\n%s%s", when, err, s.stdout, s.said)
		}
	}
	reads("at first")
	r.Rotate("files/prod")
	reads("after a rotation")
	s.must("--rotate", "--in-place", "app.yaml")
	if s.file("app.yaml") == sealed {
		t.Error("rotate changed nothing")
	}
	reads("with a new data key")
	r.Stop()
	reads("without a key server")
	r.Start()

	s.write("foreign.yaml", strings.Replace(s.file("app.yaml"), "claviger://local", "https://vault.example", 1))
	if err := s.run("--decrypt", "foreign.yaml"); err == nil || !strings.Contains(s.said, "this is a key of Vault") {
		t.Errorf("a key of a real Vault: %v\n%s", err, s.said)
	}
	s.write("other.yaml", strings.Replace(s.file("app.yaml"), "key_name: prod", "key_name: other", 1))
	if err := s.run("--decrypt", "other.yaml"); err == nil {
		t.Errorf("under another key's name it reads %s", s.stdout)
	}

	r.CreateKey("top", authority.AES256)
	r.Allow(testkit.ID("app"), "top")
	stop()
	s.keyservice, stop = r.serve("sops-keyservice")
	s.write("top.yaml", "a: 1\n")
	s.must("--encrypt", "--in-place", "--hc-vault-transit", sopskms.URI("top"), "top.yaml")
	s.must("--decrypt", "top.yaml")
	if !strings.Contains(s.file("top.yaml"), "engine_path: .") || s.stdout != "a: 1\n" {
		t.Errorf("a key in no folder: %s\n%s", s.stdout, s.file("top.yaml"))
	}

	r.disable()
	stop()
	s.keyservice, _ = r.serve("sops-keyservice")
	if err := s.run("--decrypt", "app.yaml"); err == nil || !strings.Contains(s.said, "the key is disabled") {
		t.Errorf("with a disabled key: %v\n%s%s", err, s.stdout, s.said)
	}
}
