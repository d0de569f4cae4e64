// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"errors"
	"testing"

	"claviger/internal/wire"
)

// TestMailboxOwnerSigns: a message that names a mailbox's key counts only with
// that key's signature.
func TestMailboxOwnerSigns(t *testing.T) {
	request := *sampleNamed("mailbox request").value.(*wire.MailboxRequest)
	ack := *sampleNamed("acknowledgement").value.(*wire.Ack)
	for typ, payload := range map[string][]byte{wire.TypeMailboxRequest: wire.Marshal(request), wire.TypeAck: wire.Marshal(ack)} {
		msg, err := wire.Sign(typ, payload, fixedKey("other"))
		if err != nil {
			t.Fatal(err)
		}
		if typ == wire.TypeAck {
			_, err = wire.ParseAck(msg)
		} else {
			_, err = wire.ParseMailboxRequest(msg)
		}
		if !errors.Is(err, wire.ErrSignature) {
			t.Errorf("%s signed by another key: %v", typ, err)
		}
	}
}
