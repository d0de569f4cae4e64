// SPDX-License-Identifier: Apache-2.0

// Package kv is version 2 of Vault's key-value engine: secrets of the key server
// (package secretwork) under the paths, shapes and words of Vault's HTTP API.
//
//   - [New] reads an endpoint's options, "kv.MOUNT" = the key that backs the mount's
//     secrets, and gives a [Mount] for each.
//   - [Mount.Routes] are for call.Mount.
//
// The secret a/b of the mount "secret", backed by secrets/app, is the domain's secret
// secrets/app/a/b: policies name it so. The mount's own settings (config) are those of
// the folder, Secret::"secrets/app".
//
// # What it deliberately does not do
//
// It decides nothing and keeps nothing. It has no version 1 of the engine, and no
// metadata_cas. docs/secrets.md lists what differs from Vault.
//
// # Threats
//
// Data goes from the body to the choke point and from there into the answer as bytes,
// which are wiped; it stands in no error, note or log line. A path is noted for the
// log as it is: a name is no secret. What a caller may not see looks the same as what
// isn't there: permission denied.
package kv
