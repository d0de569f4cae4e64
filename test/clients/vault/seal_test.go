// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"testing"

	"github.com/hashicorp/go-kms-wrapping/wrappers/transit/v2"

	"claviger/internal/authority"
	"claviger/internal/gateway/vaultapi/auth"
)

// TestSeal: the seal "transit" by which a Vault opens itself, with a token that it
// renews and with one that a person gave.
func TestSeal(t *testing.T) {
	w := newWorld(t)
	login, err := w.client(w.root(), "", "").Logical().Write("auth/approle/login", map[string]any{
		"role_id": w.role.Credential.ID, "secret_id": w.role.Show,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.CreateKey("apps/unseal", authority.AES256)
	for name, token := range map[string]string{auth.UseToken: w.token, auth.UseAppRole: login.Auth.ClientToken} {
		t.Run(name, func(t *testing.T) {
			seal := transit.NewWrapper()
			_, err := seal.SetConfig(t.Context(), transit.WithAddress(w.root()), transit.WithToken(token), transit.WithMountPath("transit/"),
				transit.WithKeyName("unseal"), transit.WithTlsCaCert(w.ca))
			if err != nil {
				t.Fatal(err)
			}
			defer seal.Finalize(t.Context())
			secret := []byte("the key that the other one's store is sealed under")
			blob, err := seal.Encrypt(t.Context(), secret)
			if err != nil {
				t.Fatal(err)
			}
			w.Propose(authority.KindKeyRotate, authority.KeyRef{ID: w.KeyOf("apps/unseal").ID})
			if plain, err := seal.Decrypt(t.Context(), blob); err != nil || !bytes.Equal(plain, secret) {
				t.Errorf("after a rotation: %q, %v", plain, err)
			}
			if id, err := seal.KeyId(t.Context()); err != nil || id == "" {
				t.Errorf("key id %q, %v", id, err)
			}
			w.Propose(authority.KindKeyDisable, authority.KeyRef{ID: w.KeyOf("apps/unseal").ID})
			if plain, err := seal.Decrypt(t.Context(), blob); err == nil {
				t.Errorf("with the key disabled it opens to %q", plain)
			}
			w.Propose(authority.KindKeyEnable, authority.KeyRef{ID: w.KeyOf("apps/unseal").ID})
		})
	}
}
