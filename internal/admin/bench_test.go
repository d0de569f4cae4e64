// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"strconv"
	"testing"

	"claviger/internal/admin/authkey"
	"claviger/internal/authority"
)

// BenchmarkReplay is what every command of an admin pays for each record of the
// log that the profile holds.
func BenchmarkReplay(b *testing.B) {
	const records = 1000
	alice := authkey.Generate()
	s := newServer(b, founding{admins: []*Key{alice}, threshold: 1})
	for i := range records {
		s.append(b, authority.KindKeyCreate, keyCreate("k"+strconv.Itoa(i)), alice)
	}
	p := s.profile("alice", alice, false)
	s.connect(p)
	data, err := p.readFile(recordsFile, maxRecords)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if n := (&logCopy{}).replay(data, p.Domain); n != len(data) {
			b.Fatalf("%d of %d bytes", n, len(data))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/records, "µs/record")
}
