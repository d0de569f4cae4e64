// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"

	"claviger/internal/authority"
)

// TestKV: everything that HashiCorp's library does with the key-value engine.
func TestKV(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.root(), "", w.token)
	kv, ctx := c.KVv2("secret"), t.Context()
	versions := func(data ...map[string]any) {
		t.Helper()
		for i, d := range data {
			if s, err := kv.Put(ctx, "team/db", d); err != nil || s.VersionMetadata.Version != i+1 || s.VersionMetadata.CreatedTime.IsZero() {
				t.Fatalf("put %d: %+v, %v", i+1, s, err)
			}
		}
	}
	versions(map[string]any{"user": "app", "password": "one"}, map[string]any{"user": "app", "password": "two"})
	if _, err := kv.Put(ctx, "team/db", map[string]any{}, vault.WithCheckAndSet(1)); status(err) != 400 {
		t.Errorf("cas: %v", err)
	}
	if s, err := kv.Put(ctx, "team/db", map[string]any{"user": "app", "password": "three"}, vault.WithCheckAndSet(2)); err != nil || s.VersionMetadata.Version != 3 {
		t.Errorf("cas: %+v, %v", s, err)
	}
	for name, option := range map[string]vault.KVOption{"patch": vault.WithMergeMethod(vault.KVMergeMethodPatch), "rw": vault.WithMergeMethod(vault.KVMergeMethodReadWrite)} {
		if _, err := kv.Patch(ctx, "team/db", map[string]any{name: "x"}, option); err != nil {
			t.Errorf("patch by %s: %v", name, err)
		}
	}
	if s, err := kv.Get(ctx, "team/db"); err != nil || !maps.Equal(s.Data, map[string]any{"user": "app", "password": "three", "patch": "x", "rw": "x"}) || s.VersionMetadata.Version != 5 {
		t.Errorf("get: %+v, %v", s, err)
	}
	if s, err := kv.GetVersion(ctx, "team/db", 1); err != nil || s.Data["password"] != "one" {
		t.Errorf("version 1: %+v, %v", s, err)
	}
	useVersions(ctx, t, kv)
	useMetadata(ctx, t, kv)
	listed, err := c.Logical().ListWithContext(ctx, "secret/metadata/team/")
	if err != nil || listed == nil || !slices.Equal(listed.Data["keys"].([]any), []any{"db"}) {
		t.Errorf("list: %+v, %v", listed, err)
	}
	if listed, err := c.Logical().ListWithContext(ctx, "secret/metadata/none"); listed != nil || err != nil {
		t.Errorf("list of nothing: %+v, %v", listed, err)
	}
	if err := kv.DeleteMetadata(ctx, "team/db"); err != nil {
		t.Error(err)
	}
	if _, err := kv.GetMetadata(ctx, "team/db"); !errors.Is(err, vault.ErrSecretNotFound) {
		t.Errorf("after its metadata was deleted: %v", err)
	}
	if _, err := kv.Put(ctx, "team/db", map[string]any{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	w.Propose(authority.KindKeyDisable, authority.KeyRef{ID: w.KeyOf("secrets/app").ID})
	if _, err := kv.Get(ctx, "team/db"); status(err) != 400 {
		t.Errorf("the key is disabled: %v", err)
	}
	w.Propose(authority.KindKeyEnable, authority.KeyRef{ID: w.KeyOf("secrets/app").ID})
	w.Allow(`forbid(principal, action, resource);`)
	if _, err := kv.Get(ctx, "team/db"); status(err) != 403 {
		t.Errorf("no policy: %v", err)
	}
}

// status is that of an answer.
func status(err error) int {
	if e, ok := errors.AsType[*vault.ResponseError](err); ok {
		return e.StatusCode
	}
	return 0
}

func useVersions(ctx context.Context, t *testing.T, kv *vault.KVv2) {
	t.Helper()
	if err := kv.Delete(ctx, "team/db"); err != nil {
		t.Error(err)
	}
	if s, err := kv.Get(ctx, "team/db"); err != nil || s.Data != nil || s.VersionMetadata.DeletionTime.IsZero() {
		t.Errorf("deleted: %+v, %v", s, err)
	}
	if err := kv.DeleteVersions(ctx, "team/db", []int{1, 2}); err != nil {
		t.Error(err)
	}
	if err := kv.Undelete(ctx, "team/db", []int{2, 5}); err != nil {
		t.Error(err)
	}
	if s, err := kv.GetVersion(ctx, "team/db", 2); err != nil || s.Data["password"] != "two" {
		t.Errorf("undeleted: %+v, %v", s, err)
	}
	if err := kv.Destroy(ctx, "team/db", []int{2}); err != nil {
		t.Error(err)
	}
	if s, err := kv.GetVersion(ctx, "team/db", 2); err != nil || s.Data != nil || !s.VersionMetadata.Destroyed {
		t.Errorf("destroyed: %+v, %v", s, err)
	}
	all, err := kv.GetVersionsAsList(ctx, "team/db")
	if err != nil || len(all) != 5 || !all[1].Destroyed || all[0].DeletionTime.IsZero() || !all[4].DeletionTime.IsZero() {
		t.Errorf("versions: %+v, %v", all, err)
	}
	if s, err := kv.Rollback(ctx, "team/db", 3); err != nil || s.VersionMetadata.Version != 6 {
		t.Errorf("roll back: %+v, %v", s, err)
	}
	if s, err := kv.Get(ctx, "team/db"); err != nil || s.Data["password"] != "three" || s.Data["rw"] != nil {
		t.Errorf("rolled back: %+v, %v", s, err)
	}
}

func useMetadata(ctx context.Context, t *testing.T, kv *vault.KVv2) {
	t.Helper()
	put := vault.KVMetadataPutInput{MaxVersions: 7, CASRequired: true, DeleteVersionAfter: time.Hour, CustomMetadata: map[string]any{"managed-by": "external-secrets", "n": "1"}}
	if err := kv.PutMetadata(ctx, "team/db", put); err != nil {
		t.Fatal(err)
	}
	m, err := kv.GetMetadata(ctx, "team/db")
	if err != nil || m.MaxVersions != 7 || !m.CASRequired || m.DeleteVersionAfter != time.Hour || m.CurrentVersion != 6 ||
		!maps.Equal(m.CustomMetadata, put.CustomMetadata) || len(m.Versions) != 6 || m.CreatedTime.IsZero() || m.UpdatedTime.Before(m.CreatedTime) {
		t.Errorf("metadata: %+v, %v", m, err)
	}
	if _, err := kv.Put(ctx, "team/db", map[string]any{}); status(err) != 400 {
		t.Errorf("cas is required: %v", err)
	}
	off, few := false, 5
	if err := kv.PatchMetadata(ctx, "team/db", vault.KVMetadataPatchInput{CASRequired: &off, MaxVersions: &few, CustomMetadata: map[string]any{"n": nil}}); err != nil {
		t.Fatal(err)
	}
	m, err = kv.GetMetadata(ctx, "team/db")
	if err != nil || m.MaxVersions != 5 || m.CASRequired || !maps.Equal(m.CustomMetadata, map[string]any{"managed-by": "external-secrets"}) {
		t.Errorf("patched metadata: %+v, %v", m, err)
	}
	if s, err := kv.Put(ctx, "team/db", map[string]any{"seventh": true}); err != nil || s.VersionMetadata.DeletionTime.IsZero() {
		t.Errorf("it deletes itself: %+v, %v", s, err)
	}
	if m, err = kv.GetMetadata(ctx, "team/db"); err != nil || m.OldestVersion != 3 || len(m.Versions) != 5 {
		t.Errorf("what is kept: %+v, %v", m, err)
	}
}
