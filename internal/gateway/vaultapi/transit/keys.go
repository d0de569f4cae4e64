// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/keyserver"
	"claviger/internal/wire"
)

// description is what Vault says of a key.
type description struct {
	Backup        bool           `json:"allow_plaintext_backup"`
	AutoRotate    int64          `json:"auto_rotate_period"`
	Deletable     bool           `json:"deletion_allowed"`
	Derived       bool           `json:"derived"`
	Exportable    bool           `json:"exportable"`
	Imported      bool           `json:"imported_key"`
	Keys          map[string]any `json:"keys"`
	Latest        uint64         `json:"latest_version"`
	MinAvailable  uint64         `json:"min_available_version"`
	MinDecryption uint64         `json:"min_decryption_version"`
	MinEncryption uint64         `json:"min_encryption_version"`
	Name          string         `json:"name"`
	SoftDeleted   bool           `json:"soft_deleted"`
	Decryption    bool           `json:"supports_decryption"`
	Derivation    bool           `json:"supports_derivation"`
	Encryption    bool           `json:"supports_encryption"`
	Signing       bool           `json:"supports_signing"`
	Type          string         `json:"type"`
}

// publicVersion is what Vault says of a version that has a public key.
type publicVersion struct {
	Chain   string    `json:"certificate_chain"`
	Created time.Time `json:"creation_time"`
	Name    string    `json:"name"`
	Public  string    `json:"public_key"`
}

// oldest is the first version that still opens.
func oldest(key *keyserver.Described) uint64 {
	for _, v := range key.Versions {
		if v.State != wire.StateDestroyed {
			return v.Number
		}
	}
	return max(key.Version, 1)
}

// told asks what a key is, in Vault's words for one that isn't there.
func (m *Mount) told(ctx context.Context, c *call.Call, name string, missing *call.Error) (*keyserver.Described, error) {
	key, err := m.describe(ctx, c, name)
	if causeIs(err, keyserver.CauseAbsent) {
		return nil, missing.Because(err)
	}
	return key, err
}

// describing answers with a key's description.
func (m *Mount) describing(ctx context.Context, c *call.Call, key *keyserver.Described, warnings ...string) (*call.Reply, error) {
	row, ok := typeOf(func(r typeRow) bool { return r.ours == key.Algorithm })
	if !ok {
		return nil, call.Bad("this key is of an algorithm that transit doesn't have")
	}
	first := oldest(key)
	local := strings.TrimPrefix(key.Name, m.prefix)
	out := description{
		AutoRotate: int64(key.Rotation / time.Second), Derived: m.isDerived(local), Keys: map[string]any{}, Latest: key.Version,
		MinDecryption: first, Name: local, SoftDeleted: key.Disabled, Decryption: row.encrypt, Encryption: row.encrypt,
		Derivation: row.derive, Signing: row.sign, Type: row.vault,
	}
	if first > 1 {
		out.MinAvailable = first
	}
	versions := slices.Clone(key.Versions)
	versions = slices.DeleteFunc(versions, func(v keyserver.VersionInfo) bool { return v.State == wire.StateDestroyed })
	var public []string
	if row.public != "" {
		var err error
		if public, err = m.publicKeys(ctx, c, key, versions); err != nil {
			return nil, err
		}
	}
	for i, v := range versions {
		number := strconv.FormatUint(v.Number, 10)
		if row.public == "" {
			out.Keys[number] = v.Created.Unix()
		} else {
			out.Keys[number] = publicVersion{Created: v.Created.UTC(), Name: row.public, Public: public[i]}
		}
	}
	return &call.Reply{Data: out, Warnings: warnings}, nil
}

// publicKeys are those of versions as Vault writes them; "" of one that the caller
// may not verify with, or that isn't told without the context that makes it.
func (m *Mount) publicKeys(ctx context.Context, c *call.Call, key *keyserver.Described, versions []keyserver.VersionInfo) ([]string, error) {
	out := make([]string, len(versions))
	var part []byte
	if m.isDerived(c.PathValue("name")) {
		var err error
		if part, err = base64.StdEncoding.DecodeString(c.URL.Query().Get("context")); err != nil || len(part) > maxPartition {
			return nil, call.Bad("failed to base64-decode context")
		}
		if len(part) == 0 {
			return out, nil
		}
	}
	if key.Disabled {
		return out, nil
	}
	works := make([]*work, len(versions))
	for i, v := range versions {
		works[i] = &work{use: &keyserver.Use{
			Operation: "public-key", Item: wire.Item{Name: key.Name, Version: v.Number, Partition: part},
		}}
	}
	if err := m.run(ctx, c, works); err != nil && !errors.Is(err, keyserver.ErrDenied) {
		return nil, err
	}
	for i, w := range works {
		if w.err == nil && w.used != nil {
			out[i] = publicText(w.used.Output)
		}
	}
	return out, nil
}

// publicText is a public key as Vault writes it: Ed25519 bare, the others in PEM.
func publicText(der []byte) string {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return ""
	}
	if ed, ok := key.(ed25519.PublicKey); ok {
		return base64.StdEncoding.EncodeToString(ed)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func (m *Mount) read(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	key, err := m.told(ctx, c, name, call.Missing())
	if err != nil {
		return nil, err
	}
	return m.describing(ctx, c, key)
}

func (m *Mount) list(ctx context.Context, c *call.Call) (*call.Reply, error) {
	a, err := c.Do(ctx, &keyserver.List{})
	if err != nil {
		return nil, err
	}
	keys := []string{}
	for _, k := range a.(*keyserver.Listed).Keys {
		local, mine := strings.CutPrefix(k.Name, m.prefix)
		if _, known := typeOf(func(r typeRow) bool { return r.ours == k.Algorithm }); known && mine && wire.ValidNamePart(local) {
			keys = append(keys, local)
		}
	}
	if len(keys) == 0 {
		return nil, call.Missing()
	}
	slices.Sort(keys)
	return &call.Reply{Data: map[string]any{"keys": keys}}, nil
}

// settings are what a key may be made with, and what config sets.
type settings struct {
	Type          string       `json:"type"`
	Derived       call.Bool    `json:"derived"`
	Convergent    call.Bool    `json:"convergent_encryption"`
	Exportable    call.Bool    `json:"exportable"`
	Backup        call.Bool    `json:"allow_plaintext_backup"`
	Size          call.Int     `json:"key_size"`
	Rotate        call.Seconds `json:"auto_rotate_period"`
	MinDecryption call.Int     `json:"min_decryption_version"`
	MinEncryption call.Int     `json:"min_encryption_version"`
	MinAvailable  call.Int     `json:"min_available_version"`
	Deletion      call.Bool    `json:"deletion_allowed"`
}

// refuse says what of the settings no key of Claviger has.
func (s *settings) refuse() error {
	switch {
	case s.Convergent.Value:
		return call.Bad("convergent encryption is not supported")
	case s.Exportable.Value:
		return call.Bad("exportable is not allowed: Claviger's keys don't leave it by this way")
	case s.Backup.Value:
		return call.Bad("allow_plaintext_backup is not allowed: Claviger's keys don't leave it by this way")
	case s.Deletion.Value:
		return call.Bad("deletion_allowed can't be set here: destroying a key is for people (claviger key destroy)")
	}
	return nil
}

func (m *Mount) create(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	var s settings
	if err := c.Decode(&s); err != nil {
		return nil, err
	}
	kind, err := typeNamed(s.Type)
	if err == nil {
		err = s.refuse()
	}
	derived := m.isDerived(c.PathValue("name"))
	switch {
	case err != nil:
		return nil, err
	case s.Rotate.Value != 0:
		return nil, call.Bad("auto_rotate_period can't be set here: a key's rotation is for people (claviger key set)")
	case s.Derived.Set && s.Derived.Value != derived:
		return nil, call.Bad("derived is said by the endpoint's setting " + OptionDerived + ", by name, not by whoever makes a key")
	case derived && !kind.derive:
		return nil, call.Bad("key derivation not supported for key type " + kind.vault)
	case s.Size.Value != 0 && s.Size.Value != 32:
		return nil, call.Bad("invalid key_size: it is 32 bytes")
	}
	_, err = c.Do(ctx, &keyserver.CreateKey{Name: name, Algorithm: kind.ours, Route: route})
	if err != nil && !errors.Is(err, keyserver.ErrRefused) {
		return nil, err
	}
	var warnings []string
	if err != nil {
		warnings = []string{"key " + c.PathValue("name") + " already existed"}
	}
	return m.after(ctx, c, name, warnings...)
}

// after describes a key that was just changed; who may only change it is told
// nothing of it.
func (m *Mount) after(ctx context.Context, c *call.Call, name string, warnings ...string) (*call.Reply, error) {
	key, err := m.describe(ctx, c, name)
	if errors.Is(err, keyserver.ErrDenied) {
		return &call.Reply{Warnings: warnings}, nil
	}
	if err != nil {
		return nil, err
	}
	return m.describing(ctx, c, key, warnings...)
}

func (m *Mount) rotate(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	if err := c.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	if _, err := c.Do(ctx, &keyserver.RotateKey{Name: name, Route: route}); err != nil {
		return nil, m.unchanged(ctx, c, name, err)
	}
	return m.after(ctx, c, name)
}

// unchanged is why a key could not be changed: most of all because it isn't there.
func (m *Mount) unchanged(ctx context.Context, c *call.Call, name string, err error) error {
	if errors.Is(err, keyserver.ErrRefused) {
		if _, gone := m.describe(ctx, c, name); causeIs(gone, keyserver.CauseAbsent) {
			return call.Bad("key not found").Because(err)
		}
	}
	return err
}

// retire switches a key off, which people can undo.
func (m *Mount) retire(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	if err := c.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	if _, err := c.Do(ctx, &keyserver.RetireKey{Name: name, Route: route}); err != nil {
		return nil, m.unchanged(ctx, c, name, err)
	}
	return nil, nil
}

// remove never deletes: that is for people. It answers as Vault does of a key that
// may not be deleted.
func (m *Mount) remove(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	local := c.PathValue("name")
	if _, err := m.told(ctx, c, name, call.Bad("error deleting policy "+local+": could not delete key; not found")); err != nil {
		return nil, err
	}
	return nil, call.Bad("error deleting policy " + local + ": deletion is not allowed for this key (people destroy keys: claviger key destroy; soft-delete switches one off)")
}

// config sets nothing that isn't so already: what Vault keeps here is signed by
// people in Claviger.
func (m *Mount) config(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	var s settings
	if err := c.Decode(&s); err != nil {
		return nil, err
	}
	if err := s.refuse(); err != nil {
		return nil, err
	}
	key, err := m.told(ctx, c, name, call.Badf("no existing key named %s could be found", c.PathValue("name")))
	if err != nil {
		return nil, err
	}
	var warnings []string
	switch {
	case s.MinDecryption.Value < 0 || s.MinEncryption.Value < 0:
		return nil, call.Bad("min decryption and encryption version cannot be negative")
	case uint64(s.MinDecryption.Value) > key.Version:
		return nil, call.Badf("cannot set min decryption version of %d, latest key version is %d", s.MinDecryption.Value, key.Version)
	case uint64(s.MinEncryption.Value) > key.Version:
		return nil, call.Badf("cannot set min encryption version of %d, latest key version is %d", s.MinEncryption.Value, key.Version)
	case uint64(s.MinDecryption.Value) > oldest(key):
		return nil, call.Bad("min_decryption_version can't be raised here: people end a version (claviger key destroy)")
	case s.Rotate.Set && s.Rotate.Value != key.Rotation:
		return nil, call.Bad("auto_rotate_period can't be set here: a key's rotation is for people (claviger key set)")
	case s.MinEncryption.Value > 0:
		warnings = append(warnings, "the newest version encrypts in any case: min_encryption_version is not kept")
	}
	return m.describing(ctx, c, key, warnings...)
}

func (m *Mount) trim(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	var s settings
	if err := c.Decode(&s); err != nil {
		return nil, err
	}
	key, err := m.told(ctx, c, name, call.Bad("invalid request"))
	switch {
	case err != nil:
		return nil, err
	case !s.MinAvailable.Set:
		return nil, call.Bad("missing min_available_version")
	case s.MinAvailable.Value < 1 || uint64(s.MinAvailable.Value) > oldest(key):
		return nil, call.Bad("versions are not trimmed here: people destroy them (claviger key destroy)")
	}
	return m.describing(ctx, c, key)
}

// Capabilities says what a caller may do with a path of the mount, in Vault's words.
// It asks policy about the key that the path names.
func (m *Mount) Capabilities(ctx context.Context, c *call.Call, path string) ([]string, error) {
	parts := strings.Split(strings.TrimPrefix(path, m.at+"/"), "/")
	switch {
	case parts[0] == "random" || parts[0] == "hash":
		return []string{"update"}, nil
	case parts[0] == "keys" && (len(parts) == 1 || parts[1] == ""):
		return []string{"list"}, nil
	case parts[0] == "datakey" && len(parts) == 3:
		parts = []string{"encrypt", parts[2]}
	case len(parts) < 2:
		return nil, nil
	}
	name := m.prefix + parts[1]
	if !wire.ValidNamePart(parts[1]) || !wire.ValidKeyName(name) {
		return nil, nil
	}
	key, err := m.describe(ctx, c, name)
	if errors.Is(err, keyserver.ErrDenied) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	needs := map[string][]string{
		"encrypt": {"encrypt"}, "decrypt": {"decrypt"}, "rewrap": {"encrypt", "decrypt"}, "sign": {"sign"}, "verify": {"verify"}, "hmac": {"mac"},
	}
	if parts[0] == "keys" && len(parts) == 2 {
		return []string{"read"}, nil
	}
	need, known := needs[parts[0]]
	for _, op := range need {
		known = known && slices.Contains(key.Operations, op)
	}
	if !known {
		return nil, nil
	}
	return []string{"update"}, nil
}
