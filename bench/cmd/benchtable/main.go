// SPDX-License-Identifier: Apache-2.0

// Command benchtable runs the benchmarks that docs/performance.md quotes and
// prints their figures as a table, with the machine they come from. A figure
// is the best of several short runs, the one that other work on the machine
// disturbed least; figures that are compared come from one run of the tool.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"time"
)

// options is the command line.
type options struct {
	root  string
	time  time.Duration
	count int
	only  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with its streams: 0 when every row has its figure, 1 when not, 2
// for a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("benchtable", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.root, "root", ".", "root of the module whose benchmarks run")
	flags.DurationVar(&o.time, "benchtime", 200*time.Millisecond, "for one run; servers get ten times as much, to warm up")
	flags.IntVar(&o.count, "count", 10, "runs, of which the table has the best")
	flags.StringVar(&o.only, "only", "", "only rows whose section or text matches this pattern")
	if flags.Parse(args) != nil || flags.NArg() > 0 || o.count < 1 || o.time <= 0 {
		fmt.Fprintln(stderr, "usage: benchtable [-root DIR] [-benchtime D] [-count N] [-only PATTERN]")
		return 2
	}
	chosen, err := choose(rows, o.only)
	if err == nil {
		err = o.table(ctx, chosen, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "benchtable:", err)
		return 1
	}
	return 0
}

// choose keeps the rows that match, with those they are compared to.
func choose(all []row, pattern string) ([]row, error) {
	re, err := regexp.Compile("(?i)" + pattern)
	if err != nil {
		return nil, err
	}
	var out []row
	for _, r := range all {
		if re.MatchString(r.section) || re.MatchString(r.what) {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no row matches")
	}
	return out, nil
}

// table runs what the rows need and prints them.
func (o options) table(ctx context.Context, chosen []row, w, progress io.Writer) error {
	found := figures{}
	for _, pkg := range packages(chosen) {
		fmt.Fprintln(progress, "benchtable: running", pkg)
		out, err := o.bench(ctx, pkg, benchmarks(chosen, pkg))
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", pkg, err, out)
		}
		found.read(pkg, bytes.NewReader(out))
	}
	fmt.Fprintf(w, "%s\n", machine())
	section := ""
	for _, r := range chosen {
		cells, err := r.cells(found)
		if err != nil {
			return err
		}
		if r.section != section {
			section = r.section
			fmt.Fprintf(w, "\n| %s | figure | compared | allocations |\n|---|--:|--:|--:|\n", section)
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	return nil
}

func (o options) bench(ctx context.Context, pkg string, names []string) ([]byte, error) {
	time, count := o.time, o.count
	if servers[pkg] {
		time, count = 10*time, max(1, count/5)
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark("+strings.Join(names, "|")+")$",
		"-benchmem", "-benchtime", time.String(), "-count", fmt.Sprint(count), "-timeout", "30m", pkg)
	cmd.Dir = o.root
	return cmd.CombinedOutput()
}

// packages lists the packages of the rows, each once, in their order.
func packages(chosen []row) []string {
	return unique(chosen, func(r row) []string { return []string{r.pkg} })
}

// benchmarks lists the top-level benchmarks of a package that the rows need.
func benchmarks(chosen []row, pkg string) []string {
	return unique(chosen, func(r row) []string {
		if r.pkg != pkg {
			return nil
		}
		names := []string{r.name}
		if r.to != "" {
			names = append(names, r.to)
		}
		for i, n := range names {
			names[i], _, _ = strings.Cut(n, "/")
		}
		return names
	})
}

func unique(chosen []row, of func(r row) []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, r := range chosen {
		for _, s := range of(r) {
			if !seen[s] {
				seen[s] = true
				out = append(out, s)
			}
		}
	}
	return out
}
