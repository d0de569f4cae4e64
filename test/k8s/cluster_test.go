// SPDX-License-Identifier: Apache-2.0

// Package k8s holds the Kubernetes plugin against a kube-apiserver and an etcd as they
// ship. It is a module of its own, and no part of `make test`: building the two takes
// minutes. `make test-k8s` runs it.
package k8s

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long something may take that an API server does in its own time: it
// asks the plugin once a minute while all is well, and writes for three minutes on.
const patience = 6 * time.Minute

// programs are built once.
type programs struct{ claviger, etcd, apiserver string }

func build(t *testing.T) programs {
	t.Helper()
	dir := t.TempDir()
	p := programs{filepath.Join(dir, "claviger"), filepath.Join(dir, "etcd"), filepath.Join(dir, "kube-apiserver")}
	for out, args := range map[string][]string{
		p.claviger:  {"build", "-C", "../..", "-o", p.claviger, "./cmd/claviger"},
		p.etcd:      {"build", "-o", p.etcd, "go.etcd.io/etcd/server/v3"},
		p.apiserver: {"build", "-o", p.apiserver, "k8s.io/kubernetes/cmd/kube-apiserver"},
	} {
		if said, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", out, err, said)
		}
	}
	return p
}

// process is a program that runs until it is told to end.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	log  *os.File
}

func run(t *testing.T, name string, args ...string) *process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(name, args...), done: make(chan struct{}), log: log}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			p.show()
		}
	})
	return p
}

// stop ends the program as a service manager does.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// show prints the end of what the program said.
func (p *process) show() {
	text, _ := os.ReadFile(p.log.Name())
	p.t.Logf("%s:\n%s", filepath.Base(p.cmd.Path), text[max(0, len(text)-8<<10):])
}

// cluster is an etcd and the API server in front of it.
type cluster struct {
	t         *testing.T
	programs  programs
	dir       string
	etcd      string // its address
	port      int    // of the API server
	apiserver *process
	client    *http.Client
}

const token = "0123456789abcdef"

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func newCluster(t *testing.T, p programs, socket string) *cluster {
	t.Helper()
	c := &cluster{t: t, programs: p, dir: t.TempDir(), port: freePort(t)}
	client, peer := freePort(t), freePort(t)
	c.etcd = "http://127.0.0.1:" + strconv.Itoa(client)
	peers := "http://127.0.0.1:" + strconv.Itoa(peer)
	run(t, p.etcd, "--data-dir", filepath.Join(c.dir, "etcd"), "--listen-client-urls", c.etcd, "--advertise-client-urls", c.etcd,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers)
	config, err := os.ReadFile("../../deploy/k8s/encryption-configuration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.write("encryption.yaml", bytes.ReplaceAll(config, []byte("/run/claviger/kms.sock"), []byte(socket)))
	c.write("tokens.csv", []byte(token+",admin,1,system:masters\n"))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	c.write("sa.key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	c.write("sa.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	c.start()
	return c
}

func (c *cluster) write(name string, data []byte) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), data, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// start starts the API server and waits until it answers at all.
func (c *cluster) start() {
	c.t.Helper()
	in := func(name string) string { return filepath.Join(c.dir, name) }
	c.apiserver = run(c.t, c.programs.apiserver, "--etcd-servers", c.etcd, "--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(c.port),
		"--cert-dir", in("certs"), "--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", in("sa.pub"),
		"--service-account-signing-key-file", in("sa.key"), "--token-auth-file", in("tokens.csv"), "--authorization-mode", "RBAC",
		"--service-cluster-ip-range", "10.0.0.0/24", "--disable-admission-plugins", "ServiceAccount",
		"--encryption-provider-config", in("encryption.yaml"))
	c.await("the API server answers", func() error {
		roots := x509.NewCertPool()
		cert, err := os.ReadFile(filepath.Join(c.dir, "certs", "apiserver.crt"))
		if err != nil || !roots.AppendCertsFromPEM(cert) {
			return fmt.Errorf("no certificate: %w", err)
		}
		c.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
		status, body := c.ask("GET", "/version", nil)
		return wants(status, 200, body)
	})
}

// restart ends the API server, and what it remembers, and starts it again.
func (c *cluster) restart() {
	c.t.Helper()
	c.apiserver.stop()
	c.start()
}

// ready waits until the API server says so.
func (c *cluster) ready() {
	c.t.Helper()
	c.await("ready", func() error {
		status, body := c.ask("GET", "/readyz?verbose", nil)
		return wants(status, 200, body)
	})
}

// await tries until there is no error.
func (c *cluster) await(what string, try func() error) {
	c.t.Helper()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-c.apiserver.done:
			c.t.Fatalf("%s: the API server ended: %v", what, err)
		case <-end:
			c.t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}

func wants(status, want int, body string) error {
	if status != want {
		return fmt.Errorf("HTTP status %d: %.2000s", status, body)
	}
	return nil
}

// ask sends a request as an administrator; status 0 is a connection that failed.
func (c *cluster) ask(method, path string, object any) (status int, body string) {
	c.t.Helper()
	data, err := json.Marshal(object)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "https://127.0.0.1:"+strconv.Itoa(c.port)+path, bytes.NewReader(data))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

const secrets = "/api/v1/namespaces/default/secrets"

func secretOf(name, value string) map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]string{"name": name}, "stringData": map[string]string{"password": value}}
}

// create makes a Secret.
func (c *cluster) create(name, value string) {
	c.t.Helper()
	c.await("create "+name, func() error {
		status, body := c.ask("POST", secrets, secretOf(name, value))
		return wants(status, 201, body)
	})
}

// rewrite replaces a Secret.
func (c *cluster) rewrite(name, value string) error {
	c.t.Helper()
	status, body := c.ask("PUT", secrets+"/"+name, secretOf(name, value))
	return wants(status, 200, body)
}

// read is the value of a Secret; an error if the API server gives none.
func (c *cluster) read(name string) (string, error) {
	c.t.Helper()
	status, body := c.ask("GET", secrets+"/"+name, nil)
	if err := wants(status, 200, body); err != nil {
		return "", err
	}
	var got struct{ Data map[string][]byte }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		return "", err
	}
	return string(got.Data["password"]), nil
}

// stored is what etcd holds of a Secret.
func (c *cluster) stored(name string) []byte {
	c.t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte("/registry/secrets/default/" + name))
	answer, err := http.Post(c.etcd+"/v3/kv/range", "application/json", strings.NewReader(`{"key":"`+key+`"}`))
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	var got struct{ KVs []struct{ Value []byte } }
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || len(got.KVs) != 1 {
		c.t.Fatalf("etcd has %d values, %v", len(got.KVs), err)
	}
	return got.KVs[0].Value
}
