// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"errors"
	"fmt"
	"strings"

	"claviger/internal/wire"
)

// MaxID is the longest SPIFFE id accepted, in bytes. The SPIFFE-ID standard
// allows 2,048; names here also stand in policies, logs and grants.
const MaxID = wire.MaxID

const (
	scheme   = "spiffe://"
	workload = "/workload/"
)

var errName = errors.New("not of the form spiffe://DOMAIN/workload/NAME with parts of a-z 0-9 . _ -")

// Name is a workload's SPIFFE id taken apart.
type Name struct {
	TrustDomain string // "acme.example"
	Path        string // what follows /workload/: "payments/api"
}

// String gives the id back, byte for byte as it was parsed.
func (n Name) String() string { return scheme + n.TrustDomain + workload + n.Path }

// ParseID parses spiffe://DOMAIN/workload/NAME. It is stricter than the
// SPIFFE-ID standard (sections 2.1 to 2.3): lower case only, at most [MaxID]
// bytes, parts of at most 128, the first path part always "workload", no port,
// query, fragment or percent sign. So there is exactly one spelling of a name,
// and case twins, Unicode twins and dot parts can't exist. The error never
// repeats the input.
func ParseID(id string) (Name, error) {
	if len(id) > MaxID {
		return Name{}, fmt.Errorf("parse SPIFFE id: longer than %d bytes", MaxID)
	}
	rest, ok := strings.CutPrefix(id, scheme)
	if !ok {
		return Name{}, fmt.Errorf("parse SPIFFE id: %w", errName)
	}
	domain, path, ok := strings.Cut(rest, workload)
	if !ok || !wire.ValidPath(path) {
		return Name{}, fmt.Errorf("parse SPIFFE id: %w", errName)
	}
	if err := CheckTrustDomain(domain); err != nil {
		return Name{}, fmt.Errorf("parse SPIFFE id: %w", err)
	}
	return Name{TrustDomain: domain, Path: path}, nil
}

// WorkloadID returns spiffe://trustDomain/workload/name. The name may have
// several parts ("payments/api").
func WorkloadID(trustDomain, name string) (string, error) {
	// Parsed back and compared, so that a slash in trustDomain can't move the
	// border between the two.
	want := Name{TrustDomain: trustDomain, Path: name}
	got, err := ParseID(want.String())
	if err != nil {
		return "", fmt.Errorf("name workload: %w", err)
	}
	if got != want {
		return "", fmt.Errorf("name workload: %w", errName)
	}
	return want.String(), nil
}

// EmbeddedPrefix returns spiffe://trustDomain/workload/, the prefix the embedded
// CA speaks for.
func EmbeddedPrefix(trustDomain string) (string, error) {
	if err := CheckTrustDomain(trustDomain); err != nil {
		return "", err
	}
	return scheme + trustDomain + workload, nil
}

// CheckTrustDomain says whether s can name a trust domain, as
// wire.ValidTrustDomain has it.
func CheckTrustDomain(s string) error {
	if !wire.ValidTrustDomain(s) {
		return errors.New("trust domain needs parts of a-z 0-9 _ - with single dots between them, a letter, and at most 128 bytes")
	}
	return nil
}

// checkPrefix accepts spiffe://DOMAIN/workload/ and the same with more parts.
// The slash at the end makes ".../pay/" not cover ".../payments".
func checkPrefix(prefix string) (Name, error) {
	name, err := ParseID(prefix + "x")
	if err != nil || !wire.ValidPrefix(prefix) {
		return Name{}, errors.New("prefix must look like spiffe://DOMAIN/workload/PART/ with a slash at the end")
	}
	name.Path = strings.TrimSuffix(name.Path, "x")
	return name, nil
}
