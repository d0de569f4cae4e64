// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"claviger/bench/proc"
	"claviger/bench/report"
)

// inMemoryRows are measured on one processor, and on all.
var inMemoryRows = []struct{ name, shown string }{
	{"gcm", "AES-256-GCM alone, chunks of 16 KiB"},
	{"seal", "an object into memory that is there"},
	{"open", "and back"},
	{"encrypt", "an object into fresh memory"},
	{"decrypt", "and back"},
}

// smallRows are measured on one processor.
var smallRows = []struct{ name, shown, base string }{
	{"tink-seal", "Tink AEAD, AES-256-GCM: seal 100 bytes", ""},
	{"tink-open", "Tink AEAD, AES-256-GCM: open them", ""},
	{"field-seal", "**claviger**: seal a field of 100 bytes", "tink-seal"},
	{"field-open", "**claviger**: open it", "tink-open"},
	{"random-read", "**claviger**: read 4 KiB at a random place of a file of ", ""},
}

// memory measures what needs no process of its own; each has one all the same, so
// that it can be put on a processor and no case leaves garbage to the next.
func (b *bench) memory(ctx context.Context) error {
	dir, reads := b.tmp, b.size
	if b.big {
		reads = 10 << 30
	} else if room, err := b.room(); err == nil {
		dir = room
		defer os.RemoveAll(room)
	}
	for round := range b.rounds {
		progress("memory: round %d of %d", round+1, b.rounds)
		for _, r := range inMemoryRows {
			for _, pin := range []string{lastProcessor(), ""} {
				if r.name == "gcm" && pin == "" {
					continue // it uses one
				}
				if err := b.inProcess(ctx, r.name, pin); err != nil {
					return err
				}
			}
		}
		for _, r := range smallRows {
			if r.name == "random-read" && b.big && round > 0 {
				continue // a file of that size takes long to make
			}
			if err := b.inProcess(ctx, r.name, lastProcessor(), dir, fmt.Sprint(reads)); err != nil {
				return err
			}
		}
	}
	b.memoryReport(reads)
	return nil
}

// inProcess measures one thing in a process of this program.
func (b *bench) inProcess(ctx context.Context, name, pin string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := proc.Pin(pin, append([]string{self, "measure", name}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("measure %s: %w", name, err)
	}
	var f figures
	if err := json.Unmarshal(out, &f); err != nil {
		return err
	}
	key := name + "/" + pin
	b.found.Add(key+"/cpu", f.CPU)
	b.found.Add(key+"/wall", f.Wall)
	b.found.Add(key+"/allocs", f.Allocs)
	if f.Bytes > 0 {
		b.found.Add(key+"/cpu-speed", f.Bytes*1e3/f.CPU)
		b.found.Add(key+"/speed", f.Bytes*1e3/f.Wall)
	}
	return ctx.Err()
}

func (b *bench) memoryReport(reads int64) {
	var text strings.Builder
	one := "/" + lastProcessor()
	table := report.Table{Head: []string{"64 MiB in memory", "one processor, MB/s", "× AES-GCM alone", fmt.Sprintf("%d processors, MB/s", processors()), "× one"}}
	for _, r := range inMemoryRows {
		rate := r.name + one + "/cpu-speed"
		table.Row(r.shown, report.Number(b.found.Median(rate)), report.Number(b.found.Ratio(rate, "gcm"+one+"/cpu-speed")),
			report.Number(b.found.Median(r.name+"//speed")), report.Number(b.found.Ratio(r.name+"//speed", r.name+one+"/speed")))
	}
	text.WriteString(table.String() + "\n")
	table = report.Table{Head: []string{"Small things, one processor", "time, µs", "× Tink", "allocations"}}
	for _, r := range smallRows {
		shown := r.shown
		if r.name == "random-read" {
			shown += size(reads)
		}
		ratio := 0.0
		if r.base != "" {
			ratio = b.found.Ratio(r.name+one+"/cpu", r.base+one+"/cpu")
		}
		table.Row(shown, report.Number(b.found.Median(r.name+one+"/cpu")/1e3), report.Number(ratio), fmt.Sprintf("%.0f", b.found.Median(r.name+one+"/allocs")))
	}
	text.WriteString(table.String())
	b.texts["memory"] = text.String()
}
