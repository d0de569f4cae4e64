// SPDX-License-Identifier: Apache-2.0

// Package datadir is a key server's data directory: where each file lies, how a
// domain is founded in it, and the two things in it that only the root secret
// opens before anything else can be read.
//
//   - [Dir] names the files; nobody else spells their names.
//   - [Init] founds a domain: the server's keys, the genesis, the first record of
//     the authority log. It writes over nothing.
//   - [DeriveSeals] gives the sealing keys of a domain, [Dir.Signer] the server's
//     signing key, which lies sealed under one of them.
//
// # Not here
//
// The custody file (internal/root), configuration and profiles
// (internal/install, internal/cli), running a server (internal/keyserver).
//
// # Threats
//
// Files of another installation, or changed ones, are told by their seals:
// [ErrForeign]. A whole directory put back to an earlier day is not; the head
// file and other servers' statements are what tells (internal/authority).
package datadir
