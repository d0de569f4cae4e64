// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package disk

import "os"

// syncData is the fullest sync that the system has.
func syncData(f *os.File) error { return f.Sync() }
