// SPDX-License-Identifier: Apache-2.0

// Package vaultapi is the door that speaks HashiCorp Vault's HTTP API, as OpenBao does
// too: transit on keys of the domain, key-value secrets, tokens and logins, and what
// clients ask of the server. docs/endpoints/vault.md.
//
// [Kind] is all that it exports. It puts together what packages below it do: call
// (how the API looks), transit, kv, auth and sys.
//
// An endpoint is reached below /NAME/v1/…, under its own host at /v1/…, and at /v1/…
// of any other host where X-Vault-Namespace names it or there is only one.
//
// # Threats
//
// Doors of several endpoints share /v1 at the root: a token holds at its own endpoint
// alone, so the namespace chooses where to fail, never whom to be (T-11).
package vaultapi
