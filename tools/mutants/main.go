// SPDX-License-Identifier: Apache-2.0

// Command mutants breaks the product on purpose, one fault at a time, and
// expects a test to notice each. The faults lie in test/mutants, see its
// README. It never writes into the checkout: the changed files go to the
// compiler as an overlay.
//
// A mutant that no longer fits its code, doesn't build, or whose tests fail
// without it is an error and not a success: nothing was learnt from it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"
)

// maxCI bounds what every test run pays for mutants: a second or two each.
const maxCI = 60

// options is the command line.
type options struct {
	root     string
	area     string
	only     string
	parallel int
	timeout  time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with its streams: 0 when every chosen mutant was killed, 1 when
// not, 2 for a wrong command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.root, "root", ".", "root of the checkout")
	flags.StringVar(&o.area, "area", "", "only this directory of test/mutants")
	flags.StringVar(&o.only, "only", "all", "all, or ci for those marked so")
	flags.IntVar(&o.parallel, "j", 2, "how many at a time")
	flags.DurationVar(&o.timeout, "timeout", time.Minute, "for the tests of one mutant; hanging counts as noticed")
	if flags.Parse(args) != nil || flags.NArg() > 0 || o.only != "all" && o.only != "ci" || o.parallel < 1 {
		fmt.Fprintln(stderr, "usage: mutants [-root DIR] [-area AREA] [-only all|ci] [-j N] [-timeout D]")
		return 2
	}
	ok, err := o.judge(ctx, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "mutants:", err)
	}
	if err != nil || !ok {
		return 1
	}
	return 0
}

// judge runs the chosen mutants. Those left out are still read and applied, so
// that one which went stale is found in every run.
func (o options) judge(ctx context.Context, w io.Writer) (bool, error) {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return false, err
	}
	all, err := loadAll(filepath.Join(root, "test", "mutants"))
	if err != nil {
		return false, err
	}
	var chosen []*mutant
	var bad []outcome
	for _, m := range all {
		switch {
		case (o.area == "" || m.area() == o.area) && (o.only == "all" || m.ci):
			chosen = append(chosen, m)
		default:
			if _, err := m.apply(root); err != nil {
				bad = append(bad, outcome{m, stale, err.Error()})
			}
		}
	}
	if len(chosen) == 0 {
		return false, errors.New("no mutant was chosen")
	}
	if o.only == "ci" && len(chosen) > maxCI {
		return false, fmt.Errorf("%d mutants are marked ci: yes, at most %d may be: every one is part of every test run", len(chosen), maxCI)
	}
	scratch, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(scratch)
	outcomes := o.runAll(ctx, newRunner(root, scratch, o.timeout), chosen, w)
	return summary(w, outcomes, bad), nil
}

// runAll runs mutants side by side and prints each as it ends.
func (o options) runAll(ctx context.Context, r *runner, list []*mutant, w io.Writer) []outcome {
	out := make([]outcome, len(list))
	next := make(chan int)
	var print sync.Mutex
	var workers sync.WaitGroup
	for range o.parallel {
		workers.Go(func() {
			for i := range next {
				out[i] = r.run(ctx, i, list[i])
				print.Lock()
				fmt.Fprintf(w, "%-8s %s  %s\n", out[i].verdict, list[i].name, out[i].detail)
				print.Unlock()
			}
		})
	}
	for i := range list {
		next <- i
	}
	close(next)
	workers.Wait()
	return out
}

// summary prints the score and names everything that is not killed.
func summary(w io.Writer, outcomes, others []outcome) bool {
	count := 0
	bad := others
	for _, o := range outcomes {
		if o.verdict == killed {
			count++
			continue
		}
		bad = append(bad, o)
	}
	fmt.Fprintln(w)
	for _, o := range bad {
		fmt.Fprintf(w, "%s %s: %s\n", o.verdict, o.mutant.name, o.detail)
	}
	fmt.Fprintf(w, "killed %d/%d\n", count, len(outcomes))
	return len(bad) == 0
}
