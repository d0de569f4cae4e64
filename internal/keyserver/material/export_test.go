// SPDX-License-Identifier: Apache-2.0

package material

import "claviger/internal/wire"

// SealFor seals as a server would, for whatever hash.
func (m *Materials) SealFor(h wire.Hash, data []byte) []byte { return m.seal(h, data) }
