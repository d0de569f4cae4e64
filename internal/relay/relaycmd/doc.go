// SPDX-License-Identifier: Apache-2.0

// Package relaycmd is the program claviger-relay: it reads the configuration,
// opens what stands behind the front, listens, and stops in good order.
//
// [Main] is the command line. Beside internal/cli this is the second place where a
// configuration is decoded: the relay must not link that package, which brings the
// root, the hierarchy and the authority with it (docs/design/relay.md).
//
// The TLS key: with files named, they are read again when they change. Without,
// the relay makes a key on its first start and keeps it in its directory, so that
// the pin in its address stays; the certificate around it is made at each start
// and means nothing.
//
// The control socket in the data directory answers `claviger relay-dump`. Its mode,
// and the directory's, is the lock: who can open it may see what the relay sees.
//
// Threats: the relay's TLS key protects who talks to whom, never a key (T-61).
package relaycmd
