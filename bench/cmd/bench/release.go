// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"

	"claviger/bench/report"
)

// serverLine is a result of test/bench's BenchmarkServer.
var serverLine = regexp.MustCompile(`^BenchmarkServer/(\w+?)(?:-\d+)?\s.*?([\d.]+) cpu-ns/op`)

// release sets what a release costs the server beside the public-key operations
// that it can't do without, measured in the same rounds.
func (b *bench) release(ctx context.Context) error {
	for round := range b.rounds {
		progress("release: round %d of %d", round+1, b.rounds)
		if err := b.inProcess(ctx, "public-key", lastProcessor()); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkServer$/^Release(64)?$", "-benchtime", "1500ms", "./test/bench")
		cmd.Dir = b.root
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		lines := bufio.NewScanner(bytes.NewReader(out))
		for lines.Scan() {
			if m := serverLine.FindStringSubmatch(lines.Text()); m != nil {
				ns, err := strconv.ParseFloat(m[2], 64)
				if err != nil {
					return err
				}
				b.found.Add("server/"+m[1], ns)
			}
		}
	}
	bound := "public-key/" + lastProcessor() + "/cpu"
	table := report.Table{Head: []string{"Releases", "for a second of the server's processor time", "× the bound"}}
	rate := func(name string, keys float64) float64 {
		if m := b.found.Median(name); m > 0 {
			return keys * 1e9 / m
		}
		return 0
	}
	table.Row("bound: open (X-Wing), verify (ECDSA P-256), seal (X-Wing), sign (Ed25519)", report.Number(rate(bound, 1)), "1")
	table.Row("**claviger**: release of one key, request and answer", report.Number(rate("server/Release", 1)), report.Number(b.found.Ratio(bound, "server/Release")))
	table.Row("**claviger**: keys, 64 in a request", report.Number(rate("server/Release64", 64)), "")
	b.texts["release"] = table.String()
	return nil
}
