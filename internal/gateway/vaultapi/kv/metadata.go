// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/secretwork"
	"claviger/internal/secrets"
)

func (m *Mount) doAsk(ctx context.Context, c *call.Call, a *secretwork.Ask) (*secretwork.Result, error) {
	return m.do(ctx, c, &keyserver.Secret{Ask: *a})
}

// list names what is in a folder: LIST metadata.
func (m *Mount) list(ctx context.Context, c *call.Call) (*call.Reply, error) {
	out, err := m.do(ctx, c, m.ask(c, secretwork.List))
	if err != nil {
		return nil, err
	}
	if len(out.Names) == 0 {
		return nil, call.Missing()
	}
	return &call.Reply{Data: map[string]any{"keys": out.Names}}, nil
}

// about is what Vault says of a secret.
type about struct {
	CAS      bool                    `json:"cas_required"`
	Created  string                  `json:"created_time"`
	Current  uint64                  `json:"current_version"`
	Custom   map[string]string       `json:"custom_metadata"`
	Deletes  string                  `json:"delete_version_after"`
	Max      uint64                  `json:"max_versions"`
	Oldest   uint64                  `json:"oldest_version"`
	Updated  string                  `json:"updated_time"`
	Versions map[string]aboutVersion `json:"versions"`
}

type aboutVersion struct {
	Created   string `json:"created_time"`
	Deletion  string `json:"deletion_time"`
	Destroyed bool   `json:"destroyed"`
}

// metadata tells all but the data: GET metadata.
func (m *Mount) metadata(ctx context.Context, c *call.Call) (*call.Reply, error) {
	if err := noPath(c, false); err != nil {
		return nil, err
	}
	out, err := m.do(ctx, c, m.ask(c, secretwork.Describe))
	if err != nil {
		return nil, err
	}
	s := out.Secret
	a := about{
		CAS: s.Settings.CASRequired, Created: when(s.Created), Updated: when(s.Updated), Current: s.Current, Oldest: s.Oldest,
		Custom: custom(out.Tags), Deletes: span{Seconds: s.Settings.DeleteAfter}.String(), Max: s.Settings.MaxVersions, Versions: map[string]aboutVersion{},
	}
	for _, v := range s.Versions {
		a.Versions[strconv.FormatUint(v.Number, 10)] = aboutVersion{when(v.Created), when(v.Deletes), v.Destroyed}
	}
	return &call.Reply{Data: a}, nil
}

// settings are the members of a body that changes them; nil says nothing, "null" is
// said.
type settings struct {
	Max    json.RawMessage `json:"max_versions"`
	CAS    json.RawMessage `json:"cas_required"`
	After  json.RawMessage `json:"delete_version_after"`
	Custom json.RawMessage `json:"custom_metadata"`
}

func (s *settings) empty() bool {
	return s.Max == nil && s.CAS == nil && s.After == nil && s.Custom == nil
}

// change is what settings ask for; a null resets.
func (s *settings) change() (secrets.Change, error) {
	var out secrets.Change
	var max call.Int
	var required call.Bool
	var after span
	for _, f := range []struct {
		name string
		text json.RawMessage
		into any
	}{{"max_versions", s.Max, &max}, {"cas_required", s.CAS, &required}, {"delete_version_after", s.After, &after}} {
		if f.text != nil && json.Unmarshal(f.text, f.into) != nil {
			return out, call.Badf("Field validation failed: error converting input for field %q", f.name)
		}
	}
	if max.Value < 0 || max.Value > secrets.MaxVersions {
		return out, call.Badf("max_versions is at most %d here", secrets.MaxVersions)
	}
	if s.Max != nil {
		out.MaxVersions = new(uint64(max.Value))
	}
	if s.CAS != nil {
		out.CASRequired = &required.Value
	}
	if s.After != nil {
		out.DeleteAfter = new(min(maxSpan, after.Seconds))
	}
	return out, nil
}

const badCustom = "custom_metadata validation failed"

// words reads custom_metadata; a null value is nil.
func words(text json.RawMessage) (map[string]*string, error) {
	var all map[string]json.RawMessage
	if json.Unmarshal(text, &all) != nil {
		return nil, call.Bad(badCustom + ": it is no map of texts")
	}
	out := make(map[string]*string, len(all))
	for name, value := range all {
		switch value[0] {
		case '"':
			out[name] = new(plain(value))
		case 't', 'f':
			out[name] = new(map[byte]string{'t': "1", 'f': "0"}[value[0]])
		case 'n':
			out[name] = nil
		case '{', '[':
			return nil, call.Bad(badCustom + ": it is no map of texts")
		default:
			out[name] = new(string(value))
		}
	}
	return out, nil
}

// configure sets settings and custom metadata, and makes a secret without versions
// if there is none: POST metadata.
func (m *Mount) configure(ctx context.Context, c *call.Call) (*call.Reply, error) {
	return m.set(ctx, c, func(s *settings, change *secrets.Change) error {
		if s.Custom == nil {
			return nil
		}
		all, err := words(s.Custom)
		if err != nil {
			return err
		}
		tags := []secrets.Tag{}
		for name, value := range all {
			if value == nil {
				value = new("") // Vault makes it so, and refuses it then
			}
			tags = append(tags, secrets.Tag{Name: name, Value: *value})
		}
		change.Tags = &tags
		return nil
	})
}

// reconfigure changes some of them, of a secret that is there: PATCH metadata.
func (m *Mount) reconfigure(ctx context.Context, c *call.Call) (*call.Reply, error) {
	if err := mergePatch(c); err != nil {
		return nil, err
	}
	return m.set(ctx, c, func(s *settings, change *secrets.Change) (err error) {
		change.Existing = true
		switch {
		case s.Custom == nil:
		case string(s.Custom) == "null":
			change.Tags = &[]secrets.Tag{}
		default:
			change.Retag, err = words(s.Custom)
		}
		return err
	})
}

func (m *Mount) set(ctx context.Context, c *call.Call, custom func(*settings, *secrets.Change) error) (*call.Reply, error) {
	if err := noPath(c, true); err != nil {
		return nil, err
	}
	var s settings
	if err := c.Decode(&s); err != nil {
		return nil, err
	}
	change, err := s.change()
	if err == nil && change.DeleteAfter != nil && *change.DeleteAfter < 0 {
		err = call.Bad("Field validation failed: cannot provide negative value for field \"delete_version_after\"")
	}
	if err == nil {
		err = custom(&s, &change)
	}
	if err != nil {
		return nil, err
	}
	op := m.ask(c, secretwork.Configure)
	if op.Change = change; s.empty() && !change.Existing {
		// Nothing is asked for, and nothing is made; who may not even that is told so.
		op.Change.Existing = true
		if _, err = m.do(ctx, c, op); errors.Is(err, secrets.ErrNoVersion) {
			err = nil
		}
		return nil, err
	}
	if _, err = m.do(ctx, c, op); errors.Is(err, secrets.ErrInvalid) {
		err = call.Badf("%s: at most %d keys of 1 to %d bytes with values of 1 to %d, all printable",
			badCustom, secrets.MaxTags, secrets.MaxTagName, secrets.MaxTagValue).Because(err)
	}
	return nil, err
}

// forget removes a secret with all its versions: DELETE metadata.
func (m *Mount) forget(ctx context.Context, c *call.Call) (*call.Reply, error) {
	if err := noPath(c, true); err != nil {
		return nil, err
	}
	_, err := m.do(ctx, c, m.ask(c, secretwork.Forget))
	return nil, err
}

// folder is an operation on the mount's own settings.
func (m *Mount) folder(c *call.Call, o secretwork.Operation) *keyserver.Secret {
	op := m.ask(c, o)
	op.Path = ""
	return op
}

// config tells the mount's settings: GET config.
func (m *Mount) config(ctx context.Context, c *call.Call) (*call.Reply, error) {
	out, err := m.do(ctx, c, m.folder(c, secretwork.Describe))
	if err != nil {
		return nil, err
	}
	s := out.Secret.Settings
	return &call.Reply{Data: map[string]any{
		"cas_required": s.CASRequired, "delete_version_after": span{Seconds: s.DeleteAfter}.String(), "max_versions": s.MaxVersions,
	}}, nil
}

// setConfig changes them: POST config.
func (m *Mount) setConfig(ctx context.Context, c *call.Call) (*call.Reply, error) {
	var s settings
	if err := c.Decode(&s); err != nil {
		return nil, err
	}
	s.Custom = nil
	change, err := s.change()
	if err != nil {
		return nil, err
	}
	if change.DeleteAfter != nil {
		*change.DeleteAfter = max(*change.DeleteAfter, -1)
	}
	op := m.folder(c, secretwork.Configure)
	op.Change = change
	_, err = m.do(ctx, c, op)
	return nil, err
}
