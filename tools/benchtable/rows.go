// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// form is how a figure is shown.
type form int

const (
	speed form = iota // MB/s
	span              // time for one
	rate              // so many a second
	size              // resident memory
)

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

	{"Key server, from its files to ready", "start with 1 key", "./test/bench", "Start/keys=1", span, "", ""},
	{"Key server, from its files to ready", "start with 1,000 keys", "./test/bench", "Start/keys=1000", span, "", ""},
	{"Key server, from its files to ready", "memory then", "./test/bench", "Start/keys=1000", size, "", ""},

	{"Key server over mutual TLS, client on the same processors", "release of a key", "./internal/keyserver", "Release", rate, "", ""},
	{"Key server over mutual TLS, client on the same processors", "encrypt 32 bytes on the server", "./internal/keyserver", "UseOverTLS", rate, "", ""},
}

// servers are the packages whose benchmarks start and warm up a server.
var servers = map[string]bool{"./internal/keyserver": true, "./test/bench": true}

// cells are the columns: what, figure, compared, allocations.
func (r row) cells(f figures) ([]string, error) {
	unit := map[form]string{speed: "MB/s", span: "ns/op", rate: "ns/op", size: "MiB-RSS"}[r.form]
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
	case f == speed:
		return fmt.Sprintf("%s MB/s", digits(v))
	case f == size:
		return fmt.Sprintf("%s MiB", digits(v))
	case f == rate:
		return fmt.Sprintf("%s/s", digits(1e9/v))
	case v < 1e3:
		return fmt.Sprintf("%s ns", digits(v))
	case v < 1e6:
		return fmt.Sprintf("%s µs", digits(v/1e3))
	default:
		return fmt.Sprintf("%s ms", digits(v/1e6))
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
