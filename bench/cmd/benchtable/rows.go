// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// form is how a figure is shown.
type form int

const (
	speed      form = iota // MB/s
	span                   // time for one
	rate                   // so many a second
	size                   // resident memory
	ownSize                // resident memory without what is mapped from files
	cpuSpan                // processor time of the server for one
	cpuRate                // so many for a second of the server's processor time
	welch                  // Welch's t of two classes of input, without its sign
	lag                    // time that 99 in 100 don't exceed
	replaySpan             // time of a start that replays the whole log
	replayCPU              // processor time of it
	perKey                 // resident memory for each key, without what is mapped from files
	each                   // memory for each of many, in KiB
)

// units are those of the benchmarks that the forms are made from.
var units = map[form]string{
	speed: "MB/s", span: "ns/op", rate: "ns/op", size: "MiB-RSS", ownSize: "MiB-own", cpuSpan: "cpu-ns/op", cpuRate: "cpu-ns/op",
	welch: "|t|", lag: "p99-ms", each: "KiB/conn", replaySpan: "replay-ns", replayCPU: "replay-cpu-ns", perKey: "B-own/key",
}

// row is one line of the table: what it says, and the benchmark behind it.
type row struct {
	section, what string
	pkg, name     string // the name without "Benchmark"
	form          form
	to            string // a benchmark of the same package to compare with
	toWhat        string // what that is
}

// rows is the table. A new figure needs a line here and nothing else.
var rows = []row{
	{"Ciphertexts, one processor", "AES-256-GCM alone, 16 KiB chunks, 64 MiB", "./envelope", "RawGCM", speed, "", ""},
	{"Ciphertexts, one processor", "encrypt 64 MiB in memory", "./envelope", "Encrypt", speed, "RawGCM", "AES-GCM alone"},
	{"Ciphertexts, one processor", "decrypt 64 MiB in memory", "./envelope", "Decrypt", speed, "RawGCM", "AES-GCM alone"},
	{"Ciphertexts, one processor", "encrypt through an io.Writer", "./envelope", "Writer", speed, "RawGCM", "AES-GCM alone"},
	{"Ciphertexts, one processor", "encrypt an object of 1 KiB", "./envelope", "Small", span, "", ""},
	{"Ciphertexts, one processor", "seal a field of 100 bytes", "./envelope", "SealField", span, "", ""},
	{"Ciphertexts, one processor", "open a field of 100 bytes", "./envelope", "OpenField", span, "", ""},
	{"Ciphertexts, one processor", "read 4 KiB at a random place of 64 MiB", "./envelope", "ReadAt4KiB", span, "", ""},
	{"Ciphertexts, all processors", "encrypt a stream", "./envelope", "EncryptStream", speed, "RawGCM", "AES-GCM on one"},
	{"Ciphertexts, all processors", "copy a file in the page cache", "./envelope", "Files/Copy", speed, "", ""},
	{"Ciphertexts, all processors", "encrypt a file in the page cache", "./envelope", "Files/Encrypt", speed, "Files/Copy", "copying it"},
	{"Ciphertexts, all processors", "decrypt a file in the page cache", "./envelope", "Files/Decrypt", speed, "Files/Copy", "copying it"},

	{"Protected memory", "AES-GCM of 16 KiB, state on the Go heap", "./internal/secret", "Seal/heap/16KiB", speed, "", ""},
	{"Protected memory", "AES-GCM of 16 KiB, state in protected memory", "./internal/secret", "Seal/placed/16KiB", speed, "Seal/heap/16KiB", "on the heap"},
	{"Protected memory", "HMAC-SHA512 of 100 bytes", "./internal/secret", "HMAC/placed", span, "HMAC/heap", "crypto/hmac"},
	{"Protected memory", "derive a key (HKDF-Expand)", "./internal/secret", "Expand/placed", span, "Expand/heap", "crypto/hkdf"},
	{"Protected memory", "set up and wipe an AES-256-GCM key", "./internal/secret", "NewAEAD", span, "", ""},
	{"Protected memory", "take and wipe 32 bytes", "./internal/secret", "Bytes", span, "", ""},

	{"Key server, parts", "leaf key of a version in the cache", "./internal/hierarchy", "LeafCached", span, "", ""},
	{"Key server, parts", "leaf key of a version not in the cache", "./internal/hierarchy", "LeafCold", span, "", ""},
	{"Key server, parts", "durable audit leaf, 64 callers", "./internal/audit", "Enter/64", rate, "", ""},
	{"Key server, parts", "verify a client's signed request", "./internal/authn", "VerifyRequest", span, "", ""},
	{"Key server, parts", "decision by a set of 10,000 rules, the slowest kind", "./internal/policy", "DecideOfTenThousand/path", span, "", ""},
	{"Key server, parts", "proof of a leaf of a million, made and checked", "./internal/audit", "Prove/leaf", span, "", ""},

	{"Relay; who asks, the relay and a stand-in for the server share the processors", "exchanges of 3 KiB each way over 100 connections", "./internal/relay", "RoundTrips", rate, "", ""},
	{"Relay; who asks, the relay and a stand-in for the server share the processors", "99 in 100 of them within", "./internal/relay", "RoundTrips", lag, "", ""},
	{"Relay; who asks, the relay and a stand-in for the server share the processors", "exchanges for a second of processor time, of all three", "./internal/relay", "RoundTrips", cpuRate, "", ""},
	{"Relay; who asks, the relay and a stand-in for the server share the processors", "a parcel of 8 KiB kept, synced", "./internal/relay", "Parcels", rate, "", ""},

	{"Relay, a process of its own, from its files to ready", "start with nothing at rest", "./test/bench", "RelayStart/0-parcels", span, "", ""},
	{"Relay, a process of its own, from its files to ready", "memory then", "./test/bench", "RelayStart/0-parcels", size, "", ""},
	{"Relay, a process of its own, from its files to ready", "start with 100,000 parcels of 2 KiB", "./test/bench", "RelayStart/100000-parcels", span, "", ""},
	{"Relay, a process of its own, from its files to ready", "memory then", "./test/bench", "RelayStart/100000-parcels", size, "", ""},

	{"Key server, from its files to ready", "start with 1 key", "./test/bench", "Start/keys=1", span, "", ""},
	{"Key server, from its files to ready", "memory then", "./test/bench", "Start/keys=1", size, "", ""},
	{"Key server, from its files to ready", "start with 1,000 keys", "./test/bench", "Start/keys=1000", span, "", ""},
	{"Key server, from its files to ready", "start with 100,000 keys", "./test/bench", "Start/keys=100000", span, "", ""},
	{"Key server, from its files to ready", "processor time for it, all processors together", "./test/bench", "Start/keys=100000", cpuSpan, "", ""},
	{"Key server, from its files to ready", "memory then, what is mapped of the store's file included", "./test/bench", "Start/keys=100000", size, "", ""},
	{"Key server, from its files to ready", "of it the server's own", "./test/bench", "Start/keys=100000", ownSize, "", ""},
	{"Key server, from its files to ready", "of that, for each key", "./test/bench", "Start/keys=100000", perKey, "", ""},
	{"Key server, from its files to ready", "without a snapshot: replay and verify the whole log, 100,000 keys", "./test/bench", "Start/keys=100000", replaySpan, "", ""},
	{"Key server, from its files to ready", "processor time for it, all processors together", "./test/bench", "Start/keys=100000", replayCPU, "", ""},

	{"Key server over mutual TLS, a process on one processor", "release of a key", "./test/bench", "Server/Release", rate, "", ""},
	{"Key server over mutual TLS, a process on one processor", "releases for a second of its processor time", "./test/bench", "Server/Release", cpuRate, "", ""},
	{"Key server over mutual TLS, a process on one processor", "encrypt 32 bytes on the server", "./test/bench", "Server/Encrypt", rate, "", ""},
	{"Key server over mutual TLS, a process on one processor", "encryptions for a second of its processor time", "./test/bench", "Server/Encrypt", cpuRate, "", ""},
	{"Key server over mutual TLS, a process on one processor", "memory then", "./test/bench", "Server/Encrypt", size, "", ""},
	{"Key server over mutual TLS, a process on one processor", "processor time to open a connection and answer on it", "./test/bench", "Connections", cpuSpan, "", ""},
	{"Key server over mutual TLS, a process on one processor", "memory for each of 1,000 open connections", "./test/bench", "Connections", each, "", ""},
	{"Key server over mutual TLS, a process on one processor", "processor time of a certificate's renewal", "./test/bench", "Costs/Renew", cpuSpan, "", ""},
	{"Key server over mutual TLS, a process on one processor", "of an acknowledgement", "./test/bench", "Costs/Acknowledge", cpuSpan, "", ""},
	{"Key server over mutual TLS, a process on one processor", "of telling one of 1,000 followers of a change", "./test/bench", "Costs/Push", cpuSpan, "", ""},

	{"Admin's command", "replay the profile's copy of the log, 1,000 records", "./internal/admin/replay", "Read/remembered", span, "Read/verified", "verifying each signature"},

	{"Time of a refusal, by where the input is wrong (T-55, T-77)", "control: bytes compared one by one, the first or the last", "./test/bench", "Timing/control", welch, "", ""},
	{"Time of a refusal, by where the input is wrong (T-55, T-77)", "a secret, its first byte or its last", "./test/bench", "Timing/secret", welch, "", ""},
	{"Time of a refusal, by where the input is wrong (T-55, T-77)", "the commitment of a field, its first byte or its last", "./test/bench", "Timing/commitment", welch, "", ""},
	{"Time of a refusal, by where the input is wrong (T-55, T-77)", "the MAC of a header, its first byte or its last", "./test/bench", "Timing/header-MAC", welch, "", ""},
	{"Time of a refusal, by where the input is wrong (T-55, T-77)", "the tag of a field, its first byte or its last", "./test/bench", "Timing/field-tag", welch, "", ""},
	{"Time of a refusal, by where the input is wrong (T-55, T-77)", "a field's text or its tag", "./test/bench", "Timing/field-text", welch, "", ""},
	{"Time of a refusal, by where the input is wrong (T-55, T-77)", "a request's key share or its tag", "./test/bench", "Timing/request", welch, "", ""},
}

// servers are the packages whose benchmarks start and warm up a server.
var servers = map[string]bool{"./test/bench": true}

// cells are the columns: what, figure, compared, allocations.
func (r row) cells(f figures) ([]string, error) {
	unit := units[r.form]
	v, err := f.best(r.pkg, r.name, unit)
	if err != nil {
		return nil, err
	}
	compared := ""
	if r.to != "" {
		base, err := f.best(r.pkg, r.to, unit)
		if err != nil {
			return nil, err
		}
		compared = fmt.Sprintf("%.2f × %s", v/base, r.toWhat)
	}
	allocs := ""
	if n, err := f.best(r.pkg, r.name, "allocs/op"); err == nil && r.form == span && v < 1e6 {
		allocs = fmt.Sprintf("%.0f", n)
	}
	return []string{r.what, r.form.show(v), compared, allocs}, nil
}

// show writes a figure with three digits or so: more would be noise.
func (f form) show(v float64) string {
	switch {
	case f == welch:
		return fmt.Sprintf("t = %.1f", v)
	case f == lag:
		return span.show(v * 1e6)
	case f == speed:
		return fmt.Sprintf("%s MB/s", digits(v))
	case f == each:
		return fmt.Sprintf("%s KiB", digits(v))
	case f == size || f == ownSize:
		return fmt.Sprintf("%s MiB", digits(v))
	case f == perKey:
		return fmt.Sprintf("%s B", digits(v))
	case f == rate || f == cpuRate:
		return fmt.Sprintf("%s/s", digits(1e9/v))
	case v < 1e3:
		return fmt.Sprintf("%s ns", digits(v))
	case v < 1e6:
		return fmt.Sprintf("%s µs", digits(v/1e3))
	case v < 1e9:
		return fmt.Sprintf("%s ms", digits(v/1e6))
	default:
		return fmt.Sprintf("%s s", digits(v/1e9))
	}
}

func digits(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	default:
		whole := fmt.Sprintf("%.0f", v)
		for i := len(whole) - 3; i > 0; i -= 3 {
			whole = whole[:i] + "," + whole[i:]
		}
		return whole
	}
}
