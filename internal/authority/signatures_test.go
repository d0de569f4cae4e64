// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"bytes"
	"errors"
	"testing"

	"claviger/internal/wire"
)

func TestFalseSignatureKeepsNobodyOut(t *testing.T) {
	k := newKit(t)
	log := must(k.open())
	whole := k.entry(KindPolicy, Policy{Source: []byte("")}, k.ann, k.bob)
	signed := must(wire.ParseSigned(wire.TypeBody, whole, wire.MaxBody))
	last := signed.Signatures[len(signed.Signatures)-1].Value
	junk := bytes.Replace(whole, last, make([]byte, len(last)), 1)
	if _, err := log.Propose(t.Context(), junk); !errors.Is(err, ErrRefused) {
		t.Errorf("a false signature: %v", err)
	}
	out, err := log.Propose(t.Context(), whole)
	if err != nil || !out.Applied {
		t.Errorf("the whole entry afterwards: applied %v, %v", out.Applied, err)
	}
}
