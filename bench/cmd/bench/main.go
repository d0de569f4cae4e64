// SPDX-License-Identifier: Apache-2.0

// Command bench measures the product beside others, in one run, and writes the
// compared tables of docs/performance.md and its plot:
//
//	bench                          # everything, to standard output
//	bench -only files,memory       # some of it
//	bench -write docs              # into docs/performance.md and docs/performance.svg
//	bench -big -only memory        # random reads in 10 GiB
//	bench -server 'kes=./run-kes'  # with another key server
//
// A program given with -server starts a server, prints one line of JSON when it
// answers, {"url":…,"method":…,"body":…,"cert":…,"key":…,"header":{…},"pid":…} with
// body, cert and key as files, and ends it when it is interrupted.
//
// Cases run one after the other in each round, and medians over the rounds are
// compared: whatever else the machine does meets all of them. Rates for one
// processor are taken per second of processor time, which other programs on the
// machine disturb least.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"claviger/bench/report"
)

// options is the command line.
type options struct {
	root, dir, write string
	size             int64
	rounds           int
	only             string
	big              bool
	servers          []string
}

// bench is one run: programs that were built, a directory, what has been found.
type bench struct {
	options
	bin, tmp string
	found    report.Rounds
	texts    map[string]string // by place in the page
	plots    []report.Plot
}

// groups are the parts of a run, in their order.
var groups = []struct {
	name string
	run  func(*bench, context.Context) error
}{
	{"files", (*bench).files}, {"memory", (*bench).memory}, {"server", (*bench).server}, {"release", (*bench).release}, {"doors", (*bench).doors},
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "measure" {
		if err := measure(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench measure:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	o := options{}
	flag.StringVar(&o.root, "root", ".", "root of the checkout")
	flag.StringVar(&o.dir, "dir", "", "where files are encrypted; three times -size of room, and as much memory (default: a temporary directory)")
	flag.StringVar(&o.write, "write", "", "directory of performance.md and performance.svg, to write there")
	flag.Int64Var(&o.size, "size", 1<<30, "size of the file, in bytes")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds, of which the tables have the medians")
	flag.StringVar(&o.only, "only", "", "some of files,memory,server,release,doors (default: all)")
	flag.BoolVar(&o.big, "big", false, "random reads in a file of 10 GiB")
	flag.Func("server", "NAME=PROGRAM: another key server; can be given again", func(s string) error {
		o.servers = append(o.servers, s)
		return nil
	})
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.size < 1<<20 {
		return errors.New("no arguments, at least one round and a MiB")
	}
	b := &bench{options: o, found: report.Rounds{}, texts: map[string]string{}}
	tmp, err := os.MkdirTemp("", "claviger-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	b.tmp, b.bin = tmp, filepath.Join(tmp, "bin")
	if err := b.build(ctx); err != nil {
		return err
	}
	for _, g := range groups {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), g.name) {
			continue
		}
		if err := g.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		fmt.Println(b.texts[g.name])
	}
	return b.finish()
}

// build makes the programs that are measured.
func (b *bench) build(ctx context.Context) error {
	for dir, pkgs := range map[string][]string{
		b.root:                         {"./cmd/claviger"},
		filepath.Join(b.root, "bench"): {"./cmd/peer", "./cmd/peer-rclone", "./cmd/bare", "./cmd/load"},
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-o", b.bin + "/"}, pkgs...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	return nil
}

// program is the path of one that build made.
func (b *bench) program(name string) string { return filepath.Join(b.bin, name) }

// progress tells people that something happens.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

func (b *bench) finish() error {
	if b.write == "" {
		return nil
	}
	if err := report.Write(filepath.Join(b.write, "performance.md"), b.texts); err != nil {
		return err
	}
	if b.only != "" { // a plot of a part would replace the whole
		return nil
	}
	return os.WriteFile(filepath.Join(b.write, "performance.svg"), []byte(report.SVG(b.plots)), 0o644)
}
