// SPDX-License-Identifier: Apache-2.0

// Package change says what a signed change of a trust domain does, for the people
// who decide about it.
//
// [Describe] renders a body against a state, [DescribeAlone] for who has none.
// Both work from the signed bytes: the encoding has one form per value, and every
// field of every payload is shown (a test changes each and expects to see it), so
// that nothing is signed that was not shown. What this program can't show whole is
// [ErrUnreadable] and must not be signed.
//
// It decides nothing and verifies no signature.
package change
