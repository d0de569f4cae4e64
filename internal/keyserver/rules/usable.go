// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"slices"
	"strconv"

	"claviger/internal/authority"
	"claviger/internal/wire"
)

// Usable finds the version of a key that an item means, or says why it can't be
// used.
func Usable(k *authority.Key, item wire.Item) (*authority.Version, Cause, string) {
	switch {
	case k.Disabled:
		return nil, CauseDisabled, "the key is disabled"
	case k.Settings.Attestation != "":
		return nil, CausePolicy, "the key asks for attested software and this request carries no evidence"
	case !Fits(k.Algorithm, item):
		return nil, CauseState, "the key's algorithm is not for this purpose or operation"
	}
	v := k.Current()
	if item.Version != 0 {
		v = k.Version(item.Version)
	}
	if v == nil {
		return nil, CauseState, "the key has no such version"
	}
	switch {
	case v.State == wire.StateDestroyed:
		return nil, CauseState, "version " + strconv.FormatUint(v.Number, 10) + " is destroyed"
	case v.DestroyAt != 0:
		return nil, CauseState, "version " + strconv.FormatUint(v.Number, 10) + " is waiting to be destroyed"
	case v.State != wire.StateActive && slices.ContainsFunc(item.Operations, Produces):
		return nil, CauseState, "version " + strconv.FormatUint(v.Number, 10) + " is " + v.State + ": it opens and verifies, nothing else"
	}
	return v, CausePolicy, ""
}

// Produces reports whether an operation protects something new: that takes an
// active version (SP 800-57 part 1, section 7).
func Produces(op string) bool { return op == "encrypt" || op == "wrap" || op == "sign" || op == "mac" }

// Fits reports whether purpose and operations go with an algorithm.
func Fits(algorithm string, item wire.Item) bool {
	var does, undoes string
	switch item.Purpose {
	case wire.PurposeData:
		does, undoes = "encrypt", "decrypt"
	case wire.PurposeWrap:
		does, undoes = "wrap", "unwrap"
	case wire.PurposeMAC:
		does, undoes = "mac", "verify"
	case wire.PurposeSign:
		does, undoes = "sign", "verify"
	default:
		return false
	}
	for _, op := range item.Operations {
		if op != does && op != undoes {
			return false
		}
	}
	switch algorithm {
	case authority.AES256:
		return item.Purpose == wire.PurposeData || item.Purpose == wire.PurposeWrap
	case authority.HMACSHA:
		return item.Purpose == wire.PurposeMAC
	case authority.RSA2048, authority.RSA3072, authority.RSA4096:
		return item.Purpose == wire.PurposeSign || item.Purpose == wire.PurposeWrap
	}
	return item.Purpose == wire.PurposeSign
}

// Operation is something that a key of some algorithm does.
type Operation struct{ Name, Purpose string }

// OperationsOf lists what keys of an algorithm do.
func OperationsOf(algorithm string) []Operation {
	switch algorithm {
	case authority.AES256:
		return []Operation{{"encrypt", wire.PurposeData}, {"decrypt", wire.PurposeData}, {"wrap", wire.PurposeWrap}, {"unwrap", wire.PurposeWrap}}
	case authority.HMACSHA:
		return []Operation{{"mac", wire.PurposeMAC}, {"verify", wire.PurposeMAC}}
	case authority.RSA2048, authority.RSA3072, authority.RSA4096:
		return []Operation{{"sign", wire.PurposeSign}, {"verify", wire.PurposeSign}, {"wrap", wire.PurposeWrap}, {"unwrap", wire.PurposeWrap}}
	}
	return []Operation{{"sign", wire.PurposeSign}, {"verify", wire.PurposeSign}}
}
