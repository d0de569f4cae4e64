// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
	kms "k8s.io/kms/apis/v2"
)

const manifests = "../../deploy/k8s"

// apiserver is what of an API server deals with encryption at rest: its own code reads
// the configuration, asks the plugin, and transforms objects.
type apiserver struct {
	t       *testing.T
	loaded  *encryptionconfig.EncryptionConfiguration
	secrets value.Transformer
}

// startAPIServer reads deploy/k8s's configuration as an API server does at its start.
func startAPIServer(t *testing.T, socket string) *apiserver {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(manifests, "encryption-configuration.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.ReplaceAll(text, []byte("/run/claviger/kms.sock"), []byte(socket))
	if bytes.Equal(changed, text) {
		t.Fatal("the configuration names another socket than its page says")
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	loaded, err := encryptionconfig.LoadEncryptionConfig(ctx, path, false, "apiserver-1")
	if err != nil {
		t.Fatal(err)
	}
	return &apiserver{t: t, loaded: loaded, secrets: loaded.Transformers[schema.GroupResource{Resource: "secrets"}]}
}

// healthz is what /healthz says of the plugin.
func (a *apiserver) healthz() error {
	a.t.Helper()
	if len(a.loaded.HealthChecks) != 1 {
		a.t.Fatalf("%d health checks", len(a.loaded.HealthChecks))
	}
	return a.loaded.HealthChecks[0].Check(httptest.NewRequestWithContext(a.t.Context(), "GET", "/healthz", nil))
}

const secretPath = "/registry/secrets/default/one"

func (a *apiserver) write(object string) []byte {
	a.t.Helper()
	out, err := a.secrets.TransformToStorage(a.t.Context(), []byte(object), value.DefaultContext(secretPath))
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

func (a *apiserver) read(stored []byte) (object string, stale bool, err error) {
	out, stale, err := a.secrets.TransformFromStorage(a.t.Context(), stored, value.DefaultContext(secretPath))
	return string(out), stale, err
}

// TestKubernetesAPIServer: the API server's own code writes, restarts and reads, follows
// a rotation, goes on while no key server runs, and stops with the key.
func TestKubernetesAPIServer(t *testing.T) {
	r := newRig(t, "k8s/prod")
	socket, _ := r.serve("k8s-kms", "--key", "k8s/prod")
	const object = "a canary in a Secret"

	first := startAPIServer(t, socket)
	if err := first.healthz(); err != nil {
		t.Errorf("healthz: %v", err)
	}
	stored := first.write(object)
	if !bytes.HasPrefix(stored, []byte("k8s:enc:kms:v2:claviger:")) || bytes.Contains(stored, []byte("canary")) {
		t.Errorf("etcd would hold %.100q", stored)
	}
	again := startAPIServer(t, socket)
	if got, stale, err := again.read(stored); err != nil || got != object || stale {
		// Another start has another seed, of the same key: not stale.
		t.Errorf("after a restart: %q, stale %v, %v", got, stale, err)
	}

	r.Rotate("k8s/prod")
	socket, stop := r.serve("k8s-kms", "--key", "k8s/prod")
	rotated := startAPIServer(t, socket)
	if got, stale, err := rotated.read(stored); err != nil || got != object || !stale {
		t.Errorf("after a rotation: %q, stale %v, %v", got, stale, err)
	}
	newer := rotated.write(object)

	r.Stop()
	away := startAPIServer(t, socket)
	for _, s := range [][]byte{stored, newer} {
		if got, _, err := away.read(s); err != nil || got != object {
			t.Errorf("without a key server: %q, %v", got, err)
		}
	}
	if err := away.healthz(); err != nil {
		t.Errorf("healthz without a key server: %v", err)
	}
	r.Start()

	r.disable()
	stop()
	socket, _ = r.serve("k8s-kms", "--key", "k8s/prod")
	dark := startAPIServer(t, socket)
	if err := dark.healthz(); err == nil || !strings.Contains(err.Error(), "the key is disabled") {
		t.Errorf("healthz with a disabled key: %v", err)
	}
	if got, _, err := dark.read(newer); err == nil || got != "" {
		t.Errorf("with a disabled key it reads %q", got)
	}
}

// TestKubernetesProtocol: the generated client of the protocol understands every answer
// and every refusal.
func TestKubernetesProtocol(t *testing.T) {
	r := newRig(t, "k8s/prod")
	socket, _ := r.serve("k8s-kms", "--key", "k8s/prod")
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := kms.NewKeyManagementServiceClient(conn)
	ctx := t.Context()
	said, err := client.Status(ctx, &kms.StatusRequest{})
	if err != nil || said.Version != "v2" || said.Healthz != "ok" || said.KeyId == "" {
		t.Fatalf("Status = %+v, %v", said, err)
	}
	sealed, err := client.Encrypt(ctx, &kms.EncryptRequest{Plaintext: []byte("seed"), Uid: "1"})
	if err != nil || sealed.KeyId != said.KeyId || len(sealed.Ciphertext) > 1024 || len(sealed.Annotations) != 1 {
		t.Fatalf("Encrypt = %+v, %v", sealed, err)
	}
	ask := &kms.DecryptRequest{Ciphertext: sealed.Ciphertext, Uid: "2", KeyId: sealed.KeyId, Annotations: sealed.Annotations}
	opened, err := client.Decrypt(ctx, ask)
	if err != nil || string(opened.Plaintext) != "seed" {
		t.Errorf("Decrypt = %+v, %v", opened, err)
	}
	ask.KeyId = "another/1"
	if _, err = client.Decrypt(ctx, ask); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "key_id") {
		t.Errorf("an unknown key_id: %v", err)
	}
	if _, err = client.Encrypt(ctx, &kms.EncryptRequest{Plaintext: make([]byte, 1<<20)}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a megabyte: %v", err)
	}
	if _, err := client.Encrypt(ctx, &kms.EncryptRequest{Plaintext: []byte("seed")}, grpc.UseCompressor("gzip")); err == nil {
		t.Error("a compressed message is taken")
	}
}
