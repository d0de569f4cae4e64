// SPDX-License-Identifier: Apache-2.0

package k8skms

import (
	"encoding/hex"
	"strconv"
	"strings"

	"claviger/envelope"
)

// keyIDPrefix begins every key_id.
const keyIDPrefix = "claviger/"

// keyID names a key's version to the API server.
func keyID(ref envelope.Ref) string {
	return keyIDPrefix + hex.EncodeToString(ref.KeyID[:]) + "/" + strconv.FormatUint(ref.Version, 10)
}

// isKeyID reports whether s could be one of ours.
func isKeyID(s string) bool {
	rest, ok := strings.CutPrefix(s, keyIDPrefix)
	id, version, cut := strings.Cut(rest, "/")
	raw, err := hex.DecodeString(id)
	n, errVersion := strconv.ParseUint(version, 10, 64)
	if !ok || !cut || err != nil || errVersion != nil || len(raw) != len(envelope.Ref{}.KeyID) {
		return false
	}
	ref := envelope.Ref{Version: n}
	copy(ref.KeyID[:], raw)
	return keyID(ref) == s
}
