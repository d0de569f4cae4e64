// SPDX-License-Identifier: Apache-2.0

package change

import (
	"fmt"
	"strings"

	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// rest describes what is no member of the member chain.
func (d *describer) rest(kind string, p any) string {
	switch p := p.(type) {
	case *authority.Confirm:
		d.set("admin", p.Admin)
		return "give " + p.Admin + "'s first signature"
	case *authority.Policy:
		return d.policy(p)
	case *authority.InviteRule:
		return d.rule(p)
	case *authority.Invite:
		d.set("client", p.Client)
		d.set("invite id", p.ID)
		d.set("invite key", fmt.Sprintf("%x", p.Key))
		d.set("expires", stamp(p.Expires))
		return "invite " + p.Client
	case *authority.Subject:
		return d.subject(kind, p)
	case *authority.BackupGone:
		d.set("backup", p.ID)
		d.reason(p.Reason)
		return "note that every copy of backup " + p.ID.String() + " is destroyed"
	}
	if endpoints.IsKind(kind) {
		return d.endpoint(kind, p)
	}
	return d.key(kind, p)
}

func (d *describer) policy(p *authority.Policy) string {
	d.reason(p.Reason)
	diff := policy.Diff(d.state.Policy.Source, p.Source)
	d.lines = append(d.lines, strings.Split(strings.TrimSuffix(diff, "\n"), "\n")...)
	return fmt.Sprintf("replace the policy set (%d bytes, hash %s)", len(p.Source), authority.PolicyHash(p.Source).String()[:16])
}

func (d *describer) rule(p *authority.InviteRule) string {
	d.set("admin", p.Admin)
	d.set("clients under", "/workload/"+p.Prefix)
	if p.Remove {
		return "take from " + p.Admin + " the right to invite alone"
	}
	return "let " + p.Admin + " invite alone"
}

func (d *describer) subject(kind string, p *authority.Subject) string {
	if p.Client != "" {
		d.set("client", p.Client)
	}
	d.reason(p.Reason)
	switch kind {
	case authority.KindClientRevoke:
		return "revoke " + p.Client
	case authority.KindClientEnable:
		return "take back the revocation of " + p.Client
	case authority.KindRevokeAll:
		return "revoke everything: no key of the domain may be used"
	}
	return "take back the revocation of everything"
}

// keyName is a key's name and id for people.
func (d *describer) keyName(id wire.KeyID) string {
	if k := d.state.Key(id); k != nil {
		return k.Name
	}
	return "an unknown key"
}

func (d *describer) key(kind string, p any) string {
	switch p := p.(type) {
	case *authority.KeyCreate:
		d.set("name", p.Name)
		d.set("id", p.ID)
		d.set("algorithm", p.Algorithm)
		d.settings(authority.Settings{}, p.Settings, true)
		d.set("revocation id", p.Revocation)
		d.reason(p.Reason)
		return "create key " + p.Name
	case *authority.KeySettings:
		var old authority.Settings
		if k := d.state.Key(p.ID); k != nil {
			old = k.Settings
		}
		d.set("key", p.ID)
		d.settings(old, p.Settings, false)
		d.reason(p.Reason)
		return "change the settings of key " + d.keyName(p.ID)
	case *authority.KeyRef:
		d.set("key", p.ID)
		d.reason(p.Reason)
		return strings.TrimPrefix(kind, "key.") + " key " + d.keyName(p.ID)
	case *authority.VersionRef:
		d.set("key", p.ID)
		d.set("version", p.Number)
		d.reason(p.Reason)
		if kind == authority.KindKeyKeep {
			return fmt.Sprintf("keep version %d of key %s, which waits to be destroyed", p.Number, d.keyName(p.ID))
		}
		return fmt.Sprintf("mark version %d of key %s as compromised", p.Number, d.keyName(p.ID))
	case *authority.Destroy:
		return d.destroy(p)
	}
	return kind
}

func (d *describer) destroy(p *authority.Destroy) string {
	d.set("key", p.ID)
	versions := "every version"
	if p.Number != 0 {
		versions = fmt.Sprintf("version %d", p.Number)
	}
	d.set("versions", versions)
	d.set("waiting time", seconds(p.Wait))
	d.reason(p.Reason)
	when := "at once"
	if p.Wait > 0 {
		when = "in " + seconds(p.Wait)
	}
	return fmt.Sprintf("destroy %s of key %s %s: what it encrypted is lost for ever then", versions, d.keyName(p.ID), when)
}

// settings notes each setting of a key.
func (d *describer) settings(old, s authority.Settings, create bool) {
	show := d.change
	if create {
		show = func(name string, _, value any) { d.set(name, value) }
	}
	show("rotation", rotation(old.Rotation), rotation(s.Rotation))
	show("lease", seconds(old.Lease), seconds(s.Lease))
	show("staleness", seconds(old.Staleness), seconds(s.Staleness))
	show("attestation", level(old.Attestation), level(s.Attestation))
	show("exportable", old.Exportable, s.Exportable)
	show("tags", tags(old.Tags), tags(s.Tags))
}

func rotation(n uint64) string {
	if n == 0 {
		return "only on order"
	}
	return "every " + seconds(n)
}

func level(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func tags(list []authority.Tag) string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = fmt.Sprintf("%s=%q", t.Name, t.Value)
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, " ")
}
