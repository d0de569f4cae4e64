// SPDX-License-Identifier: Apache-2.0

package trust

import "claviger/internal/wire"

// Answered is as if a server had just answered.
func (v *View) Answered(id wire.ServerID) {
	v.anchors[id] = anchor{issued: v.clock.Now().UnixMilli(), sent: v.moment()}
}
