// SPDX-License-Identifier: Apache-2.0

package transport

import "context"

// Statements are what the relay's board shows of the domain's servers, for a
// server: the newest statement of each, unverified.
func (o *RelayOwner) Statements(ctx context.Context) ([][]byte, error) {
	return o.relay.Statements(ctx)
}

// Statements are what the directory shows of the domain's servers, for a server.
func (o *DirectoryOwner) Statements(ctx context.Context) ([][]byte, error) {
	return o.directory.Statements(ctx)
}
