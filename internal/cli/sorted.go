// SPDX-License-Identifier: Apache-2.0

package cli

import "slices"

// sorted returns a sorted copy, [] for nil: lists in JSON are never null.
func sorted(list []string) []string {
	out := append([]string{}, list...)
	slices.Sort(out)
	return out
}
