// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"claviger/internal/members"
	"claviger/internal/pki"
)

// quorumForm is KofN.
var quorumForm = regexp.MustCompile(`^([1-9][0-9]?)of([1-9][0-9]?)$`)

// Quorum reads how many of n admins make a quorum, such as "2of3". An empty
// text will do for a single admin.
func Quorum(text string, n int) (uint64, error) {
	k, err := quorum(text, n, "admins")
	if errors.Is(err, errMisfit) {
		err = fmt.Errorf("%w (the first one counts)", err)
	}
	return k, err
}

var errMisfit = errors.New("does not fit")

func quorum(text string, n int, who string) (uint64, error) {
	if text == "" && n == 1 {
		return 1, nil
	}
	m := quorumForm.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("it says how many of the %d %s have to sign, such as %dof%d", n, who, n/2+1, n)
	}
	k, _ := strconv.Atoi(m[1]) // two digits
	of, _ := strconv.Atoi(m[2])
	if of != n || k > n {
		return 0, fmt.Errorf("%s %w %d %s", text, errMisfit, n, who)
	}
	return uint64(k), nil
}

// Waiting times of a recovery. One that takes effect at once would be a quorum
// of its own, above the other, that nobody can answer.
const (
	DefaultRecoveryWait = 72 * time.Hour
	minRecoveryWait     = time.Second
)

// Recovery reads a recovery quorum: who holds its keys, how many of them it
// takes ("1of1"; "" for one of one), and how long it waits. It refuses a key or
// a name of the admins: who loses the one would lose the other.
func Recovery(keys, admins []members.Key, text string, wait time.Duration) (members.Recovery, error) {
	r := members.Recovery{Keys: keys, Wait: uint64(wait / time.Second)}
	for _, k := range keys {
		if slices.ContainsFunc(admins, func(a members.Key) bool { return a.Name == k.Name || bytes.Equal(a.Public, k.Public) }) {
			return r, fmt.Errorf("%s is an admin's name or key; a recovery key is one of its own, kept elsewhere", k.Name)
		}
	}
	if wait < minRecoveryWait || wait%time.Second != 0 || r.Wait > members.MaxRecoveryWait {
		return r, errors.New("the waiting time is a second to a year, in whole seconds, such as 72h")
	}
	var err error
	if r.Threshold, err = quorum(text, len(keys), "recovery keys"); err != nil {
		return r, err
	}
	return r, r.Check()
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
