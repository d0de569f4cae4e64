// SPDX-License-Identifier: Apache-2.0

package keyserver

// ReadyKeys is how many keys are kept ready for use.
func (c *Core) ReadyKeys() int { return c.worker.Kept() }
