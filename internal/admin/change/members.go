// SPDX-License-Identifier: Apache-2.0

package change

import (
	"fmt"
	"slices"
	"strings"

	"claviger/internal/admin/authkey"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// named is a member of a list that is compared by name.
type named struct {
	name string
	text string // everything else about it
}

// diff notes what comes, goes and changes between two lists.
func (d *describer) diff(what string, old, new []named) {
	was := map[string]string{}
	for _, n := range old {
		was[n.name] = n.text
	}
	is := map[string]bool{}
	for _, n := range new {
		is[n.name] = true
		name := plain(n.name)
		switch text, ok := was[n.name]; {
		case ok && text == n.text:
			d.lines = append(d.lines, fmt.Sprintf("  %s %s: %s", what, name, plain(n.text)))
		case ok:
			d.lines = append(d.lines, fmt.Sprintf("- %s %s: %s", what, name, plain(text)), fmt.Sprintf("+ %s %s: %s", what, name, plain(n.text)))
		default:
			d.lines = append(d.lines, fmt.Sprintf("+ %s %s: %s", what, name, plain(n.text)))
		}
	}
	for _, n := range old {
		if !is[n.name] {
			d.lines = append(d.lines, fmt.Sprintf("- %s %s: %s", what, plain(n.name), plain(n.text)))
		}
	}
}

func namedKeys(keys []members.Key) []named {
	out := make([]named, len(keys))
	for i, k := range keys {
		out[i] = named{k.Name, authkey.FormatPublic(k.Public)}
	}
	return out
}

func (d *describer) keys(kind string, p *members.Keys) string {
	now := d.state.Members.Keys
	d.diff("authority key", namedKeys(now.Keys), namedKeys(p.Keys))
	d.change("threshold", now.Threshold, p.Threshold)
	switch kind {
	case authority.KindRecoverBegin:
		return "announce that the recovery quorum will replace the authority keys"
	case members.KindRecover:
		return "replace the authority keys by order of the recovery quorum"
	}
	return fmt.Sprintf("change the authority keys: %d of %d must sign from then on", p.Threshold, len(p.Keys))
}

// Newcomers lists the keys that a change makes authority keys and that have to
// sign it themselves: of a recovery, all that it names.
func Newcomers(s *authority.State, body *wire.Body) []members.Key {
	p, err := Payload(body)
	keys, ok := p.(*members.Keys)
	if err != nil || !ok || body.Kind == authority.KindRecoverBegin {
		return nil
	}
	return slices.DeleteFunc(keys.Keys, func(k members.Key) bool {
		_, _, known := s.Members.Admin(k.Hash())
		return known && body.Kind == members.KindKeys
	})
}

func (d *describer) recovery(p *members.Recovery) string {
	now := d.state.Members.Recovery
	d.diff("recovery key", namedKeys(now.Keys), namedKeys(p.Keys))
	d.change("threshold", now.Threshold, p.Threshold)
	d.change("waiting time", seconds(now.Wait), seconds(p.Wait))
	return "change the recovery quorum"
}

func (d *describer) server(p *members.Server) string {
	d.set("name", p.Name)
	d.set("id", p.ID())
	d.set("signing key", authkey.FormatPublic(p.Key))
	d.set("epoch key", wire.Sum("epoch-key", p.EpochKey))
	return "let server " + p.Name + " join: it will be able to read every key"
}

func (d *describer) fence(kind string, p *members.Fence) string {
	name := "an unknown server"
	if m, ok := d.state.Members.Server(p.Server); ok {
		name = m.Name
		d.set("server", fmt.Sprintf("%s (%s), now %s", p.Server, m.Name, m.Status))
	} else {
		d.set("server", p.Server)
	}
	d.reason(p.Reason)
	switch kind {
	case members.KindFence:
		return "fence server " + name + ": nothing that it says counts any more"
	case members.KindUnfence:
		return "take server " + name + " back in"
	}
	return "let server " + name + " leave for good"
}

func (d *describer) restore(p *members.Restore) string {
	d.change("generation", d.state.Members.Generation, p.Generation)
	d.set("goes on from", p.Epoch)
	d.set("head there", p.Head)
	d.reason(p.Reason)
	return fmt.Sprintf("restore the domain: its log goes on from record %s, what came later is gone", p.Epoch)
}

func (d *describer) anchors(p *members.Anchors) string {
	d.diff("trust anchor", namedAnchors(d.state.Members.Anchors), namedAnchors(p.Anchors))
	return "change whose certificates name workloads"
}

func namedAnchors(anchors []members.Anchor) []named {
	out := make([]named, len(anchors))
	for i, a := range anchors {
		parts := []string{"speaks for " + a.Prefix}
		if a.Embedded {
			parts = append(parts, "the domain's own CA")
		}
		for _, c := range a.Roots {
			parts = append(parts, "root "+wire.Sum("certificate", c).String())
		}
		for _, c := range a.Intermediates {
			parts = append(parts, "intermediate "+wire.Sum("certificate", c).String())
		}
		if a.NeedCRL {
			parts = append(parts, "needs a fresh revocation list")
		}
		out[i] = named{a.Name, strings.Join(parts, ", ")}
	}
	return out
}
