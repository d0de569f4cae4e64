// SPDX-License-Identifier: Apache-2.0

// Package client is the Go SDK of Claviger: it encrypts and decrypts in the
// program's own memory, with keys that a key server of your trust domain leases
// to it. Neither plaintext nor ciphertext leaves the process; a lease is asked for
// once and used many times.
//
// # Start
//
// An admin makes an invite (claviger client invite NAME); [Enroll] or
// `claviger client enroll` redeems it and writes a profile; then
//
//	p, err := client.OpenProfile(dir)
//	c, err := client.Dial(ctx, p, client.Options{})
//	defer c.Close()
//	sealed, err := c.Encrypt(ctx, "payments/cards", card, client.EncryptOptions{Context: rowID})
//	card, opened, err := c.Decrypt(ctx, sealed, client.DecryptOptions{Keys: []string{"payments/cards"}, Context: rowID})
//
// # Which call for which need
//
//   - bytes: [Client.Encrypt], [Client.Decrypt];
//   - streams and files of any size: [Client.EncryptStream],
//     [Client.DecryptStream], [Client.EncryptFile], [Client.DecryptFile];
//   - database columns: [Client.SealField], [Client.OpenField];
//   - rotation: [Client.Rewrap] gives an object another key, body untouched;
//   - everything else that package envelope can (parts of objects, several keys,
//     detached headers): [Client.Sealing] and [Client.Opening];
//   - signatures and MACs, whose keys stay on the server: [Client.Use];
//   - what may I use: [Client.Keys]; how fresh is what I have: [Client.Freshness],
//     [Client.Look].
//
// # Opening names the keys it expects
//
// Whoever stores a ciphertext can put another in its place, sealed under any key
// that the client may use. So [DecryptOptions] wants the names that are right
// here; [DecryptOptions.AnyKey] gives that up, knowingly. The first signed answer
// for a name pins its id in the profile. And give a Context: it binds an object to
// its place. Without one, whole objects of one key and partition can be swapped,
// and older ones put back.
//
// # What is verified
//
// The profile pins the domain id. Every answer has to lead from there, through the
// member chain, to a server that is not fenced; it has to answer this very request
// in every field, commit to the key that came with it, and not fall behind the
// newest state seen. docs/spec/release.md numbers the checks. What a server says
// unsigned is trouble on the way ([ErrUnavailable]) and never a fact about keys.
//
// # Ways to servers
//
// A profile's addresses are of three kinds: host:port of a server, https://relay
// with or without #pin, and file:///directory, where a relay or directory leads to
// every server that stands there. They are asked in order, the one that answered
// last first; each server is judged by itself, and one that lies or is behind keeps
// nobody from another, and stands in [Options.Log]. Relays and directories want a send token: the invite brings
// the first, each release the next; who rested for more than two weeks gets
// [ErrSendToken]. [Client.Use] and [Client.Keys] need a server's own address:
// [ErrNeedsDirect].
//
// # Leases and revocation
//
// A key is used until its lease ends, and only while some server's word is recent
// enough (the key's staleness bound). While leases are at hand, one goroutine
// follows statements: what they revoke is wiped when they come, streams under it
// fail with [ErrRevoked] at their next chunk, and the servers that gave it are told
// so. If statements fail to come, a use of a key that finds the newest word older
// than 30 s asks for the next, and at the staleness bound it is over. After a new
// epoch the current versions are asked for ahead of need. [Client.Refresh] asks at
// once. Nothing runs while nothing is leased, nor after Close. Time is counted by
// the boot and the wall clock, whichever says more.
//
// Over relays and directories, after some seconds with leases at hand, the client
// keeps a standing request with the servers (docs/spec/release.md, section 8): a new
// version then comes by itself, and is used as soon as a statement vouches for it.
//
// # Errors
//
// A *[DeniedError] is a no that was signed. [ErrUnavailable] may be tried again.
// [ErrIntegrity], [ErrFork] and [ErrRollback] mean that somebody lies or restored a
// backup: tell a person. [ErrUnexpectedKey] and envelope's ErrIntegrity mean that
// the ciphertext isn't the one that belongs here.
//
// # Threat notes
//
// Key bytes lie in protected memory and are wiped when a lease ends. The
// certificate's private key, and for a moment what a release holds as it is
// opened, lie on the Go heap. Who may encrypt with a key could decrypt what others
// encrypted: the server separates the two by policy, the arithmetic doesn't. A
// profile directory is a credential. Several processes may share it; copies of it
// may not diverge for long, because each remembers the newest state on its own.
package client
