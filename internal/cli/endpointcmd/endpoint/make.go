// SPDX-License-Identifier: Apache-2.0

package endpoint

import (
	"fmt"
	"slices"
	"strings"

	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/gateway"
)

// Make makes a credential of a kind for each of who; the caller wipes them.
func Make(kind *gateway.Kind, who []Who) ([]gateway.Secret, error) {
	var made []gateway.Secret
	for _, w := range who {
		if kind.Credential == nil {
			Wipe(made)
			return nil, fmt.Errorf("endpoints of kind %s have no credentials of ours", kind.Name)
		}
		s, err := kind.Credential(w.Use, w.Subject)
		if err != nil {
			Wipe(made)
			return nil, err
		}
		s.Credential.Material = endpoints.MaterialHash(s.Material.Expose())
		made = append(made, s)
	}
	return made, nil
}

// Wipe wipes what secrets are made of. What was printed of them stays.
func Wipe(made []gateway.Secret) {
	for _, m := range made {
		m.Material.Wipe()
	}
}

// With is a record with further credentials, the newest last.
func With(e authority.Endpoint, made []gateway.Secret) authority.Endpoint {
	e.Credentials = slices.Clone(e.Credentials)
	for _, m := range made {
		e.Credentials = append(e.Credentials, m.Credential)
	}
	return e
}

// Check judges a record as the log, the parsers and its kind do.
func Check(kinds gateway.Kinds, e *authority.Endpoint) error {
	if err := e.Check(); err != nil {
		return err
	}
	if err := e.Vet(); err != nil {
		return err
	}
	return kinds.Check(e)
}

// Guide is what the other side has to be told, "" if the kind has nothing to say.
// Without secrets it names places to put them.
func Guide(kind *gateway.Kind, e authority.Endpoint, base string, made []gateway.Secret) string {
	if kind.Guide == nil {
		return ""
	}
	return strings.TrimRight(kind.Guide(gateway.Site{Endpoint: e, Base: base}, made), "\n")
}
