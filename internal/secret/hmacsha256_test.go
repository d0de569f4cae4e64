// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"testing"
)

func TestHMACSHA256(t *testing.T) {
	for _, size := range []int{16, 63, 64, 65, 200} {
		key := Random(size)
		for _, message := range []string{"", "what is signed"} {
			h := hmac.New(sha256.New, key.Expose())
			h.Write([]byte(message))
			if got := HMACSHA256(key, []byte(message)); !hmac.Equal(got[:], h.Sum(nil)) {
				t.Errorf("key of %d bytes: another MAC than crypto/hmac's", size)
			}
		}
	}
}
