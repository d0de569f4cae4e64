// SPDX-License-Identifier: Apache-2.0

package authn

import "time"

// Again makes a Caller of a chain that was stapled to a request which VerifyRequest
// accepted and which the server has kept since, sealed: the certificate is judged
// as it counts now. The signature is not there any more, so whoever calls this
// answers for where the chain comes from.
func (t Trust) Again(client string, chain [][]byte, now time.Time) (*Caller, error) {
	caller, id, err := t.workload(chain, now)
	if err != nil {
		return nil, err
	}
	if id.ID != client {
		return nil, refused("the certificate names another client")
	}
	return caller, nil
}
