// SPDX-License-Identifier: Apache-2.0

//go:build race

package scenario

// racing tells tests that go through a whole message byte by byte to take a part of
// the bytes: everything is ten times as slow.
const racing = true
