// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"claviger/internal/members"
	"claviger/internal/pki"
)

// quorumForm is KofN.
var quorumForm = regexp.MustCompile(`^([1-9][0-9]?)of([1-9][0-9]?)$`)

// Quorum reads how many of n admins make a quorum, such as "2of3". An empty
// text will do for a single admin.
func Quorum(text string, n int) (uint64, error) {
	if text == "" && n == 1 {
		return 1, nil
	}
	m := quorumForm.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("it says how many of the %d admins have to sign, such as %dof%d", n, n/2+1, n)
	}
	k, _ := strconv.Atoi(m[1]) // two digits
	of, _ := strconv.Atoi(m[2])
	if of != n || k > n {
		return 0, fmt.Errorf("%s does not fit %d admins (the first one counts)", text, n)
	}
	return uint64(k), nil
}

// OutsideCA makes the trust anchor of the customer's own CA from a PEM file with
// its roots and, if there are any, intermediates. It speaks for every workload
// of the domain, in place of the embedded CA, with certificates that live for at
// most a day (pki.ShortLived); longer ones would need revocation lists.
func OutsideCA(domain string, bundle []byte) ([]members.Anchor, error) {
	certs, err := pki.ParseBundle(bundle)
	if err != nil {
		return nil, err
	}
	prefix, err := pki.EmbeddedPrefix(domain)
	if err != nil {
		return nil, err
	}
	a := members.Anchor{Name: "outside", Prefix: prefix}
	for _, c := range certs {
		if string(c.RawSubject) == string(c.RawIssuer) {
			a.Roots = append(a.Roots, c.Raw)
		} else {
			a.Intermediates = append(a.Intermediates, c.Raw)
		}
	}
	if len(a.Roots) == 0 {
		return nil, errors.New("no root among the certificates")
	}
	return []members.Anchor{a}, nil
}
