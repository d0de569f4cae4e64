// SPDX-License-Identifier: Apache-2.0

package holding

// Recall is what a start reads of the audit log: how many leases, and from when on
// it knows.
func (h *Holding) Recall(most uint64) (n int, since int64, err error) {
	leases, since, err := h.recall(most)
	return len(leases), since, err
}
