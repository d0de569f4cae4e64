// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"claviger/bench/proc"
	"claviger/bench/report"
)

// serving is a server to ask: ours, the bare one, or what a program given with
// -server says of itself.
type serving struct {
	name, shown string
	URL         string            `json:"url"`
	Method      string            `json:"method"` // default POST
	Body        string            `json:"body"`   // files
	Cert        string            `json:"cert"`
	Key         string            `json:"key"`
	Header      map[string]string `json:"header"`
	PID         int               `json:"pid"`
	end         func()
}

// connectionCounts are how many ask at the same time.
var connectionCounts = []int{1, 16, 64}

// server measures server-side encryption of 32 bytes over mutual TLS. Servers have
// the last processor, whoever asks has the first.
func (b *bench) server(ctx context.Context) error {
	d, err := b.newDomain(ctx, lastProcessor())
	if err != nil {
		return err
	}
	defer d.end()
	list, err := b.servings(ctx, d)
	for _, s := range list {
		defer s.end()
	}
	if err != nil {
		return err
	}
	for round := range b.rounds {
		progress("server: round %d of %d", round+1, b.rounds)
		for _, connections := range connectionCounts {
			for _, s := range list {
				if err := b.ask(ctx, s, connections); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
			}
		}
		for _, s := range list {
			if err := b.askWith(ctx, s, s.name+"/http2", "-connections", "16", "-http2"); err != nil {
				return fmt.Errorf("%s over HTTP/2: %w", s.name, err)
			}
		}
	}
	b.serverReport(list)
	return nil
}

func (b *bench) servings(ctx context.Context, d *domain) (list []serving, err error) {
	cert, key := filepath.Join(d.profile, "cert.pem"), filepath.Join(d.profile, "key.pem")
	body := filepath.Join(b.tmp, "use.json")
	value := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	text := fmt.Sprintf(`{"items":[{"op":"encrypt","key":%q,"plaintext":%q}]}`, d.key, value)
	if err := os.WriteFile(body, []byte(text), 0o600); err != nil {
		return nil, err
	}
	// The bare server shows the workload's certificate as its own: one more of
	// the same kind as good as any.
	cmd := proc.Pin(lastProcessor(), b.program("bare"), "-cert", cert, "-key", key)
	address, end, err := firstLine(cmd)
	if err != nil {
		return nil, err
	}
	list = append(list,
		serving{name: "bare", shown: "bare net/http server, the limit", URL: "https://" + address + "/v1/use", Body: body, Cert: cert, Key: key, PID: cmd.Process.Pid, end: end},
		serving{name: ours, shown: "**claviger**, policy and durable audit", URL: "https://" + d.address + "/v1/use", Body: body, Cert: cert, Key: key, PID: d.server.Process.Pid, end: func() {}})
	for _, given := range b.servers {
		name, program, _ := strings.Cut(given, "=")
		cmd := proc.Pin(lastProcessor(), program)
		line, end, err := firstLine(cmd)
		if err != nil {
			return list, fmt.Errorf("%s: %w", name, err)
		}
		s := serving{name: name, shown: name, PID: cmd.Process.Pid, end: end}
		list = append(list, s)
		if err := json.Unmarshal([]byte(line), &list[len(list)-1]); err != nil {
			return list, fmt.Errorf("%s said %q: %w", name, line, err)
		}
	}
	return list, ctx.Err()
}

// firstLine starts a program and returns the first line it prints, and what ends
// it.
func firstLine(cmd *exec.Cmd) (string, func(), error) {
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	end := func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may be gone
		_ = cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		end()
		return "", nil, fmt.Errorf("%v: it said nothing: %w", cmd.Args, err)
	}
	return strings.TrimSpace(line), end, nil
}

func (b *bench) ask(ctx context.Context, s serving, connections int) error {
	return b.askWith(ctx, s, fmt.Sprintf("%s/%d", s.name, connections), "-connections", fmt.Sprint(connections))
}

// asked is what command load prints, as far as the tables need it.
type asked struct {
	Errors    uint64  `json:"errors"`
	First     string  `json:"first_error"`
	PerSecond float64 `json:"answers_per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	ServerCPU float64 `json:"server_cpu_us_per_answer"`
	MiB       float64 `json:"server_resident_mib"`
}

// askWith runs the load generator in a process of its own, away from the server's
// processor.
func (b *bench) askWith(ctx context.Context, s serving, name string, more ...string) error {
	argv := []string{b.program("load"), "-url", s.URL, "-body", s.Body, "-cert", s.Cert, "-key", s.Key, "-pid", fmt.Sprint(s.PID), "-duration", "2s"}
	if s.Method != "" {
		argv = append(argv, "-method", s.Method)
	}
	for k, v := range s.Header {
		argv = append(argv, "-header", k+": "+v)
	}
	cmd := proc.Pin("0", append(argv, more...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	var a asked
	if err := json.Unmarshal(out, &a); err != nil {
		return err
	}
	if a.Errors > 0 {
		return fmt.Errorf("%d errors, the first: %s", a.Errors, a.First)
	}
	b.found.Add(name+"/wall", a.PerSecond)
	b.found.Add(name+"/core", 1e6/max(a.ServerCPU, 1e-3))
	b.found.Add(name+"/p50", a.P50)
	b.found.Add(name+"/p99", a.P99)
	b.found.Add(name+"/mib", a.MiB)
	return ctx.Err()
}

func (b *bench) serverReport(list []serving) {
	table := report.Table{Head: []string{"Encrypt 32 bytes over mutual TLS, for a second of the server's processor time"}}
	for _, c := range connectionCounts {
		table.Head = append(table.Head, fmt.Sprintf("%d conn.", c))
	}
	table.Head = append(table.Head, "16, HTTP/2", "p99 at 16, ms", "memory, MiB")
	for _, s := range list {
		row := []string{s.shown}
		for _, c := range connectionCounts {
			row = append(row, report.Number(b.found.Median(fmt.Sprintf("%s/%d/core", s.name, c))))
		}
		table.Row(append(row, report.Number(b.found.Median(s.name+"/http2/core")), report.Number(b.found.Median(s.name+"/16/p99")), report.Number(b.found.Median(s.name+"/64/mib")))...)
	}
	row := []string{"claviger × bare"}
	for _, c := range append(slices.Clone(connectionCounts), -1) {
		name := fmt.Sprint(c)
		if c < 0 {
			name = "http2"
		}
		row = append(row, report.Number(b.found.Ratio(ours+"/"+name+"/core", "bare/"+name+"/core")))
	}
	table.Row(append(row, report.Number(b.found.Ratio(ours+"/16/p99", "bare/16/p99")), "")...)
	b.texts["server"] = table.String()
	p := report.Plot{Title: "Encrypt 32 bytes over mutual TLS, 16 connections", Unit: "for a second of the server's processor"}
	for _, s := range list {
		p.Bars = append(p.Bars, report.Bar{Label: strings.Trim(s.name, "*"), Value: b.found.Median(s.name + "/16/core"), Ours: s.name == ours})
	}
	b.plots = append(b.plots, p)
}
