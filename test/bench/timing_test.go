// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"claviger/envelope"
	"claviger/internal/clock"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// BenchmarkTiming compares how long the refusal of two inputs takes that differ in
// nothing but where they are wrong, for each comparison that an attacker may try:
// threats T-55 and T-77. It is no test, because a machine's noise is no failure.
//
// The method is that of dudect (Reparaz, Balasch and Verbauwhede, 2017): the two
// are measured in random turns, in the same memory, and Welch's t says how far
// apart their means are in units of what chance explains. The slowest tenth of the
// measurements, in which something else had the processor, is left out. An |t|
// below 4.5 is no sign of a difference; above 10 there is one. The first line is
// the control, a comparison that does give itself away.
func BenchmarkTiming(b *testing.B) {
	for _, s := range subjects(b) {
		b.Run(s.name, func(b *testing.B) {
			var t float64
			for b.Loop() {
				t = s.compare()
			}
			b.ReportMetric(math.Abs(t), "|t|")
			b.ReportMetric(float64(s.samples**effort), "samples")
		})
	}
}

// effort multiplies the measurements: a difference that is a tenth as large takes
// a hundred times as many.
var effort = flag.Int("effort", 1, "times as many measurements of time")

// subject is something that refuses both of two inputs.
type subject struct {
	name    string
	samples int
	inputs  [2][]byte
	refuse  func(input []byte) bool // reports that it was refused
}

// compare is Welch's t of the two inputs' times.
func (s *subject) compare() float64 {
	buffer := make([]byte, len(s.inputs[0]))
	c := clock.Process()
	n := s.samples * *effort
	classes, times := make([]uint8, n), make([]time.Duration, n)
	for i := range n {
		class := uint8(rand.N(2))
		copy(buffer, s.inputs[class])
		begin := c.Boot()
		refused := s.refuse(buffer)
		classes[i], times[i] = class, c.Boot()-begin
		if !refused {
			panic("timing: " + s.name + " took what is wrong")
		}
	}
	return welch(classes, times)
}

// welch is Welch's t between the times of class 0 and class 1, without the slowest
// tenth of all.
func welch(classes []uint8, times []time.Duration) float64 {
	limit := slices.Sorted(slices.Values(times))[len(times)*9/10]
	var n, sum, squares [2]float64
	for i, t := range times {
		if t <= limit {
			x := float64(t)
			n[classes[i]]++
			sum[classes[i]] += x
			squares[classes[i]] += x * x
		}
	}
	var mean, spread [2]float64
	for k := range 2 {
		mean[k] = sum[k] / n[k]
		spread[k] = (squares[k]/n[k] - mean[k]*mean[k]) / (n[k] - 1)
	}
	if spread[0]+spread[1] == 0 {
		return 0
	}
	return (mean[0] - mean[1]) / math.Sqrt(spread[0]+spread[1])
}

// wrongAt are two copies of data, each with a bit changed at one place. A place
// below zero counts from the end.
func wrongAt(data []byte, a, b int) (out [2][]byte) {
	for i, at := range []int{a, b} {
		if at < 0 {
			at += len(data)
		}
		out[i] = bytes.Clone(data)
		out[i][at] ^= 1
	}
	return out
}

func subjects(b *testing.B) []*subject {
	b.Helper()
	value := secret.Random(64)
	b.Cleanup(value.Wipe)
	// A field ends with its commitment, 32 bytes, text, 100, and tag, 16; a header
	// with its MAC, 32 (docs/spec/envelope.md).
	field, openField := fields(b)
	header, openHeader := headers(b)
	message, openMessage := messages(b)
	return []*subject{
		{"control", 200_000, wrongAt(value.Expose(), 0, -1), func(in []byte) bool { return !byteByByte(in, value.Expose()) }},
		// T-77: where a guess is wrong.
		{"secret", 200_000, wrongAt(value.Expose(), 0, -1), func(in []byte) bool {
			other := secret.New(len(in))
			copy(other.Expose(), in)
			same := value.Equal(other)
			other.Wipe()
			return !same
		}},
		{"commitment", 100_000, wrongAt(field, -(16 + 100 + 32), -(16 + 100 + 1)), openField},
		{"header-MAC", 50_000, wrongAt(header, -32, -1), openHeader},
		// T-55: what is wrong.
		{"field-tag", 100_000, wrongAt(field, -16, -1), openField},
		{"field-text", 100_000, wrongAt(field, -(16 + 100), -1), openField},
		{"request", 20_000, wrongAt(message, 400, -1), openMessage},
	}
}

// byteByByte compares as nothing of the product may.
func byteByByte(a, b []byte) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// fields is a field of 100 bytes and what opens it.
func fields(b *testing.B) ([]byte, func([]byte) bool) {
	k := leaf(b)
	field, err := k.SealField(make([]byte, 100), []byte("row"))
	must(b, err)
	return field, func(in []byte) bool {
		_, err := k.OpenField(in, []byte("row"))
		return errors.Is(err, envelope.ErrIntegrity)
	}
}

// headers is an object's header and what opens it.
func headers(b *testing.B) ([]byte, func([]byte) bool) {
	k := leaf(b)
	sealer, err := envelope.NewSealer(b.Context(), k, envelope.Options{})
	must(b, err)
	return sealer.Header(), func(in []byte) bool {
		_, err := envelope.NewOpener(b.Context(), k, in, envelope.Options{})
		return errors.Is(err, envelope.ErrIntegrity)
	}
}

// messages is a sealed request and what opens it.
func messages(b *testing.B) ([]byte, func([]byte) bool) {
	key := wire.NewKey()
	message, err := wire.Seal(key.Public(), wire.TypeRequest, wire.Hash{1}, make([]byte, 1000))
	must(b, err)
	return message, func(in []byte) bool {
		_, err := key.Open(wire.TypeRequest, wire.Hash{1}, in, wire.MaxSealedSize)
		return err != nil
	}
}

func leaf(b *testing.B) *envelope.LeafKey {
	raw := make([]byte, envelope.LeafSize)
	for i := range raw {
		raw[i] = byte(rand.N(256))
	}
	k, err := envelope.NewLeafKey(envelope.Ref{Domain: [32]byte{1}, KeyID: [16]byte{2}, Version: 1}, raw)
	must(b, err)
	b.Cleanup(k.Wipe)
	return k
}

// TestWelchFindsADifference of a twentieth in noise twice as large, and none where
// there is none.
func TestWelchFindsADifference(t *testing.T) {
	source := rand.New(rand.NewPCG(1, 2))
	for _, apart := range []time.Duration{0, 50} {
		classes, times := make([]uint8, 20_000), make([]time.Duration, 20_000)
		for i := range times {
			classes[i] = uint8(source.IntN(2))
			times[i] = 1000 + time.Duration(source.IntN(200)) + apart*time.Duration(classes[i])
		}
		if got := math.Abs(welch(classes, times)); (got > 10) != (apart > 0) || apart == 0 && got > 4.5 {
			t.Errorf("%v apart: |t| = %.1f", apart, got)
		}
	}
}
