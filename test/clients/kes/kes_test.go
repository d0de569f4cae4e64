// SPDX-License-Identifier: Apache-2.0

// Package kes holds the KES door against MinIO's own client library.
package kes

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"testing"

	minio "github.com/minio/kms-go/kes"

	"claviger/internal/authority"
	"claviger/internal/gateway/gatewaytest"
	"claviger/internal/gateway/kes"
)

// TestKES: MinIO's own client library, with the certificate that it makes of an API
// key, against the door.
func TestKES(t *testing.T) {
	key, err := minio.GenerateAPIKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := minio.GenerateCertificate(key)
	if err != nil {
		t.Fatal(err)
	}
	r := gatewaytest.New(t, &gatewaytest.Suite{
		Kind: kes.Kind(), Endpoint: authority.Endpoint{
			Name: "minio", Kind: "kes", Host: "localhost", Options: []authority.Tag{gatewaytest.Tag("folder", "storage/")},
		},
	})
	c := minio.NewClientWithConfig(r.Base(), &tls.Config{RootCAs: r.Roots, Certificates: []tls.Certificate{cert}})
	ctx := t.Context()
	if version, err := c.Version(ctx); err != nil || version == "" {
		t.Fatalf("version: %q %v", version, err)
	}
	if ready, err := c.IsReady(ctx); err != nil || !ready {
		t.Errorf("ready: %v %v", ready, err)
	}
	if state, err := c.Status(ctx); err != nil || !state.KeyStoreReachable || !state.KeystoreAvailable {
		t.Errorf("status: %+v %v", state, err)
	}
	if apis, err := c.APIs(ctx); err != nil || len(apis) < 10 {
		t.Errorf("APIs: %v %v", apis, err)
	}
	if err := c.CreateKey(ctx, "minio"); !errors.Is(err, minio.ErrNotAllowed) {
		t.Errorf("create without a policy: %v", err)
	}
	r.Allow(fmt.Sprintf(`permit (principal == Subject::"minio:%s",
		action in [Action::"encrypt", Action::"decrypt", Action::"key:create", Action::"key:retire"], resource in Folder::"storage");`, key.Identity()))
	useKES(ctx, t, c)

	id := r.KeyOf("storage/minio").ID
	dek, err := c.GenerateKey(ctx, "minio", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: id})
	if plain, err := c.Decrypt(ctx, "minio", dek.Ciphertext, nil); err != nil || !bytes.Equal(plain, dek.Plaintext) {
		t.Errorf("after a rotation: %v", err)
	}
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: id})
	if _, err := c.Decrypt(ctx, "minio", dek.Ciphertext, nil); err == nil || err.Error() != "not authorized: key is disabled" {
		t.Errorf("disabled: %v", err)
	}
	r.Propose(authority.KindKeyEnable, authority.KeyRef{ID: id})
	if err := c.DeleteKey(ctx, "minio"); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := c.Decrypt(ctx, "minio", dek.Ciphertext, nil); err == nil {
		t.Error("a deleted key decrypts")
	}
}

// useKES does what MinIO does with a key.
func useKES(ctx context.Context, t *testing.T, c *minio.Client) {
	t.Helper()
	if err := c.CreateKey(ctx, "minio"); err != nil {
		t.Fatalf("create: %v", err)
	}
	if err := c.CreateKey(ctx, "minio"); !errors.Is(err, minio.ErrKeyExists) {
		t.Errorf("create again: %v", err)
	}
	if info, err := c.DescribeKey(ctx, "minio"); err != nil || info.Name != "minio" || info.Algorithm != minio.AES256 || info.CreatedAt.IsZero() {
		t.Errorf("describe: %+v %v", info, err)
	}
	names := minio.ListIter[string]{NextFunc: c.ListKeys}
	if name, err := names.Next(ctx); err != nil || name != "minio" {
		t.Errorf("list: %q %v", name, err)
	}
	if _, _, err := c.ListKeys(ctx, "*", -1); err != nil {
		t.Errorf("list all: %v", err)
	}
	bound := []byte("bucket/object")
	dek, err := c.GenerateKey(ctx, "minio", bound)
	if err != nil || len(dek.Plaintext) != 32 {
		t.Fatalf("generate: %v", err)
	}
	plain, err := c.Decrypt(ctx, "minio", dek.Ciphertext, bound)
	if err != nil || !bytes.Equal(plain, dek.Plaintext) {
		t.Errorf("decrypt: %v", err)
	}
	if _, err := c.Decrypt(ctx, "minio", dek.Ciphertext, []byte("another")); !errors.Is(err, minio.ErrDecrypt) {
		t.Errorf("with another context: %v", err)
	}
	sealed, err := c.Encrypt(ctx, "minio", []byte("attack at dawn"), bound)
	if err != nil {
		t.Fatalf("encrypt: %v", err)
	}
	if plain, err := c.Decrypt(ctx, "minio", sealed, bound); err != nil || string(plain) != "attack at dawn" {
		t.Errorf("decrypt: %q %v", plain, err)
	}
	if err := c.ImportKey(ctx, "mine", &minio.ImportKeyRequest{Key: make([]byte, 32), Cipher: minio.AES256}); err == nil {
		t.Error("a key was imported")
	}
	if _, _, err := c.DescribeSelf(ctx); err != nil {
		t.Errorf("self: %v", err)
	}
}
