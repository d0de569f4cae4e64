// SPDX-License-Identifier: Apache-2.0

package pace

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"time"
)

const (
	// FirstPause is the rule's pause after a first failure, unless a caller has its own.
	FirstPause = 250 * time.Millisecond
	// MostPause is the rule's pause however many failed.
	MostPause = 30 * time.Second
	// NewsSpread is the longest wait of [News] after asks that brought something new.
	// News of one change reach all clients within a second or so, and each then asks for
	// its keys.
	NewsSpread = 10 * time.Second
	// MostSpread is the longest wait of [News] after many asks that brought nothing new.
	MostSpread = 15 * time.Minute
	// mostBusy bounds the part that [Busy] adds.
	mostBusy = 2 * time.Second
)

// Draw is a random number, from 0 to 2⁶⁴−1 with the same chance each. Functions take
// one in place of drawing it, so that a simulation can repeat itself.
type Draw uint64

// Random draws from the operating system's generator.
func Random() Draw {
	var b [8]byte
	rand.Read(b[:])
	return Draw(binary.BigEndian.Uint64(b[:]))
}

// Of is the draw that belongs to something unique, such as a certificate: the same
// each time, also in another process, and unlike anything else's.
func Of(unique []byte) Draw {
	sum := sha256.Sum256(unique)
	return Draw(binary.BigEndian.Uint64(sum[:]))
}

// up to d, d itself left out; 0 if d isn't above 0.
func (r Draw) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	hi, _ := bits.Mul64(uint64(r), uint64(d))
	return time.Duration(hi)
}

// Renewal is how old a certificate with this lifetime becomes before it is replaced:
// from a half to five sixths, two thirds on average. The last sixth is left for
// tries that fail.
func Renewal(life time.Duration, r Draw) time.Duration { return life/2 + r.upTo(life/3) }

// Refresh is how old a lease of this length becomes, while it is in use, before
// another is asked for: from a half to the whole, three quarters on average.
func Refresh(lease time.Duration, r Draw) time.Duration { return lease/2 + r.upTo(lease/2) }

// Standing is how old a standing request that lasts this long becomes before the
// next: from three eighths to five eighths, a half on average.
func Standing(life time.Duration, r Draw) time.Duration { return life/8*3 + r.upTo(life/4) }

// News is how long to wait, with nobody waiting for it, before asking for what may
// have changed with an epoch: up to [NewsSpread], and up to twice as long after each
// such ask in a row that brought nothing new, to [MostSpread]. Most records of a large
// domain change nothing for most of its clients.
func News(fruitless int, r Draw) time.Duration {
	within := NewsSpread
	for ; fruitless > 0 && within < MostSpread; fruitless-- {
		within = Next(within, MostSpread)
	}
	return r.upTo(within)
}

// Pause is how long to wait after a failure when the rule says d: its upper half.
func Pause(d time.Duration, r Draw) time.Duration { return d/2 + r.upTo(d/2+1) }

// Busy is how long to wait for a server that said "ask again after d": that, and up
// to as much again, and two seconds more at most. Who all were told the same would
// else come back together.
func Busy(d time.Duration, r Draw) time.Duration { return d + r.upTo(min(d, mostBusy)) }

// Next is the rule's pause after one of d: twice that, at most so much.
func Next(d, most time.Duration) time.Duration { return min(2*d, most) }
