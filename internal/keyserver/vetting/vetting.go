// SPDX-License-Identifier: Apache-2.0

// Package vetting looks into bodies before they are kept: at what the fold can't
// judge and a key server can. What is refused here would hold in the log, and
// then serve nobody: a policy set that doesn't parse, trust anchors that don't
// load, an endpoint whose credentials were never brought.
//
// It is no part of the fold: a server gone bad can append what this refuses, and
// every reader takes such a record as harmless as it is.
package vetting

import (
	"context"
	"fmt"

	"claviger/internal/authority"
	"claviger/internal/keyserver/anchors"
	"claviger/internal/keyserver/material"
	"claviger/internal/members"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// Vetter is what a server looks with.
type Vetter struct {
	Name      string // of the trust domain
	Anchors   *anchors.Anchors
	Materials *material.Materials
}

// Body says why a body must not be kept, nil if nothing speaks against it. A
// payload that is none is wire.ErrMalformed.
func (v Vetter) Body(ctx context.Context, body *wire.Body) error {
	switch body.Kind {
	case authority.KindPolicy:
		p, err := payload[authority.Policy](body)
		if err == nil {
			_, err = policy.Parse(p.Source)
		}
		return err
	case members.KindAnchors:
		p, err := payload[members.Anchors](body)
		if err == nil {
			err = v.Anchors.Vet(v.Name, *p)
		}
		return err
	case authority.KindEndpointSet:
		p, err := payload[authority.EndpointSet](body)
		if err == nil {
			err = v.endpoint(ctx, &p.Endpoint)
		}
		return err
	}
	return nil
}

func (v Vetter) endpoint(ctx context.Context, e *authority.Endpoint) error {
	if err := e.Vet(); err != nil {
		return err
	}
	for _, c := range e.Credentials {
		if err := v.Materials.Kept(ctx, c.Material); err != nil {
			return fmt.Errorf("credential %q: %w", c.ID, err)
		}
	}
	return nil
}

func payload[P any](body *wire.Body) (*P, error) {
	p := new(P)
	return p, wire.Unmarshal(body.Payload, p, wire.MaxBody)
}
