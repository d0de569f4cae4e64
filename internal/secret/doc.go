// SPDX-License-Identifier: Apache-2.0

// Package secret holds keys where dumps, swap and printing don't reach them,
// and computes with them there. It is the only package of the product that
// uses unsafe.
//
// # Which function for which need
//
//   - A key or other secret of fixed size: [Bytes], made by [New], [Random] or
//     [Take], ended by [Bytes.Wipe]. A function that makes one hands it to its
//     caller, who wipes it; arguments stay with the caller. Nobody wipes what
//     somebody else may still use.
//   - To encrypt under it more than once: [AEAD]. To authenticate: [HMAC]. To
//     derive: [Extract], [ExtractSecret], [Expand], through package kdf, which
//     makes the labels.
//   - For a call that takes a slice: [Bytes.Expose], with care.
//   - For a slice that held a secret on its way in or out: [Wipe].
//   - At start: [SelfTest] and [Protection], and say what they say.
//
// # What it protects against, and what not
//
// Protecting the bytes of a key alone is worth little: the standard library
// expands an AES key into a schedule whose first 32 bytes are the key, and
// crypto/hmac writes key⊕0x36… and key⊕0x5c…, all on the Go heap. So AEAD, HMAC and
// HKDF here run on state that lies in protected memory itself. The tests search
// the memory of a working process for keys, both XORs, halves, schedules and
// HMAC states, and find none.
//
// On Linux the memory is memfd_secret(2): not in core dumps, not swapped, not
// readable through /proc/PID/mem or by the kernel's own mappings. (A kernel
// with such memory in use doesn't hibernate.) Where the kernel refuses it, it
// is locked and kept out of dumps; where RLIMIT_MEMLOCK is used up, it is only
// kept out of dumps. [Protection] and [CurrentUsage] tell which.
//
// Not protected: registers while a computation runs. Keys are set up with
// signals blocked (except by [NewBriefAEAD]) and vector registers are cleared
// after every operation, but a signal in the middle of Seal, Open or Sum makes
// the kernel write them to the thread's signal stack, where single round keys
// can stay until the next signal. The heap for the microsecond in which
// [NewAEAD] expands a key, before it moves the result and wipes the original.
// What comes in through buffers that aren't ours: read secrets straight into
// Expose() of a Bytes. Whoever can run code in the process, by ptrace for instance. The
// hypervisor: against that only confidential hardware helps.
//
// # Deliberately absent
//
// No growing or resizing, no strings, no reader or writer, no way to switch
// protection off. No other cipher or hash: formats name their own primitives,
// these are for what lives long.
//
// # FIPS
//
// AES-GCM and SHA-512 are the standard library's, and so its FIPS 140-3
// module's in builds with GOFIPS140. HMAC and HKDF are composed of that SHA-512
// here. Everything works under GODEBUG=fips140=only; see [NewAEAD].
package secret
