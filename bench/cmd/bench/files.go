// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"claviger/bench/peers"
	"claviger/bench/peers/rclone"
	"claviger/bench/proc"
	"claviger/bench/report"
)

// tool turns a file into another one and back, each by a process of its own.
type tool struct {
	name, shown      string
	encrypt, decrypt func(in, out string) []string
	// weaker ciphers say nothing about a changed file and are no peers: no format
	// that authenticates could be as cheap.
	weaker bool
}

const (
	ours  = "claviger"
	plain = "cp"
)

// tools are ours, the limit, and whatever peers this machine has.
func (b *bench) tools(d *domain) []tool {
	list := []tool{
		{name: plain, shown: "`cp`, the limit", encrypt: args("cp", "IN", "OUT"), decrypt: args("cp", "IN", "OUT")},
		{
			name: ours, shown: "**claviger**",
			encrypt: args(b.program("claviger"), "encrypt", "--profile", d.profile, "--key", d.key, "-o", "OUT", "IN"),
			decrypt: args(b.program("claviger"), "decrypt", "--profile", d.profile, "--key", d.key, "-o", "OUT", "IN"),
		},
	}
	add := func(program string, p peers.Peer) {
		program = b.program(program)
		list = append(list, tool{name: p.Name, shown: p.Shown, encrypt: args(program, p.Name, "encrypt", "IN", "OUT"), decrypt: args(program, p.Name, "decrypt", "IN", "OUT")})
	}
	for _, p := range peers.All {
		add("peer", p)
	}
	add("peer-rclone", rclone.Peer)
	if recipient, identity, err := ageKeys(b.tmp); err == nil {
		list = append(list, tool{name: "age-command", shown: "`age`, the command", encrypt: args("age", "-r", recipient, "-o", "OUT", "IN"), decrypt: args("age", "-d", "-i", identity, "-o", "OUT", "IN")})
	}
	if _, err := exec.LookPath("openssl"); err == nil {
		const key, iv = "3031323334353637383961626364656630313233343536373839616263646566", "30313233343536373839616263646566"
		list = append(list, tool{
			name: "openssl", shown: "`openssl enc -aes-256-ctr`, not authenticated", weaker: true,
			encrypt: args("openssl", "enc", "-aes-256-ctr", "-K", key, "-iv", iv, "-in", "IN", "-out", "OUT"),
			decrypt: args("openssl", "enc", "-d", "-aes-256-ctr", "-K", key, "-iv", iv, "-in", "IN", "-out", "OUT"),
		})
	}
	return list
}

// args is a command line with places for input and output.
func args(line ...string) func(in, out string) []string {
	return func(in, out string) []string {
		filled := make([]string, len(line))
		for i, word := range line {
			switch word {
			case "IN":
				word = in
			case "OUT":
				word = out
			}
			filled[i] = word
		}
		return filled
	}
}

// ageKeys makes a key pair for the age command, an error without one.
func ageKeys(dir string) (recipient, identity string, err error) {
	identity = filepath.Join(dir, "age.key")
	if out, err := exec.Command("age-keygen", "-o", identity).CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("age-keygen: %w: %s", err, out)
	}
	out, err := exec.Command("age-keygen", "-y", identity).Output()
	return strings.TrimSpace(string(out)), identity, err
}

// lastProcessor is the one that what has one processor runs on.
func lastProcessor() string { return fmt.Sprint(processors() - 1) }

// files measures whole processes, from the page cache into the page cache.
func (b *bench) files(ctx context.Context) error {
	d, err := b.newDomain(ctx, "")
	if err != nil {
		return err
	}
	defer d.end()
	dir, err := b.room()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	source := filepath.Join(dir, "plain")
	if err := randomFile(source, b.size); err != nil {
		return err
	}
	tools := b.tools(d)
	for round := range b.rounds {
		for _, pin := range []string{"", lastProcessor()} {
			progress("files: round %d of %d, processors %s", round+1, b.rounds, cmp.Or(pin, "all"))
			for _, i := range mathrand.Perm(len(tools)) { // so that nobody always meets what one other left
				t := tools[i]
				if err := b.roundTrip(ctx, t, pin, dir, round == 0 && pin == ""); err != nil {
					return err
				}
			}
		}
	}
	if err := b.starts(ctx, tools, dir); err != nil {
		return err
	}
	b.filesReport(tools)
	return nil
}

// room makes a directory for files. What is written there is read and removed
// before a disk would have to see it: everything happens in the page cache.
func (b *bench) room() (string, error) { return os.MkdirTemp(b.dir, "claviger-bench-") }

func randomFile(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(f, rand.Reader, size); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil { // so that it isn't written to the disk later, while others are measured
		f.Close()
		return err
	}
	return f.Close()
}

// roundTrip encrypts and decrypts once, and if asked compares what came back.
func (b *bench) roundTrip(ctx context.Context, t tool, pin, dir string, compare bool) error {
	source, object, back := filepath.Join(dir, "plain"), filepath.Join(dir, "object"), filepath.Join(dir, "back")
	defer os.Remove(object)
	defer os.Remove(back)
	if err := b.one(t.name+"/encrypt/"+pin, pin, t.encrypt(source, object)); err != nil {
		return err
	}
	if err := b.one(t.name+"/decrypt/"+pin, pin, t.decrypt(object, back)); err != nil {
		return err
	}
	if !compare {
		return ctx.Err()
	}
	if out, err := exec.CommandContext(ctx, "cmp", source, back).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: not what was encrypted: %w %s", t.name, err, out)
	}
	return nil
}

// one runs a command and notes its speed, its processor time for a GiB, and its
// memory.
func (b *bench) one(name, pin string, argv []string) error {
	u, err := proc.Run(proc.Pin(pin, argv...))
	if err != nil {
		return err
	}
	b.found.Add(name, float64(b.size)/1e6/u.Wall.Seconds())
	b.found.Add(name+"/cpu", u.CPU.Seconds()*(1<<30)/float64(b.size))
	b.found.Add(name+"/peak", float64(u.Peak)/1024)
	return nil
}

// starts measures what a tool needs for a file of one byte: nearly all of it is the
// time until a first chunk could be written.
func (b *bench) starts(ctx context.Context, tools []tool, dir string) error {
	source, object := filepath.Join(dir, "byte"), filepath.Join(dir, "object")
	if err := os.WriteFile(source, []byte{1}, 0o600); err != nil {
		return err
	}
	for range b.rounds * 4 {
		for _, t := range tools {
			u, err := proc.Run(proc.Pin("", t.encrypt(source, object)...))
			if err != nil {
				return err
			}
			b.found.Add(t.name+"/start", u.Wall.Seconds()*1000)
			b.found.Add(t.name+"/start/cpu", u.CPU.Seconds()*1000)
			os.Remove(object)
		}
	}
	return ctx.Err()
}

func (b *bench) filesReport(tools []tool) {
	var text strings.Builder
	for _, pin := range []string{"", lastProcessor()} {
		title := fmt.Sprintf("%s, whole commands, %d processors", size(b.size), processors())
		if pin != "" {
			title = fmt.Sprintf("%s, whole commands, one processor", size(b.size))
		}
		table := report.Table{Head: []string{title, "encrypt, MB/s", "× `cp`", "decrypt, MB/s", "× `cp`", "processor time for a GiB, s", "memory, MiB"}}
		for _, t := range tools {
			e, d := t.name+"/encrypt/"+pin, t.name+"/decrypt/"+pin
			m := b.found.Median
			table.Row(t.shown, report.Number(m(e)), report.Number(b.found.Ratio(e, plain+"/encrypt/"+pin)),
				report.Number(m(d)), report.Number(b.found.Ratio(d, plain+"/decrypt/"+pin)),
				report.Number(m(e+"/cpu"))+" / "+report.Number(m(d+"/cpu")), report.Number(max(m(e+"/peak"), m(d+"/peak"))))
		}
		text.WriteString(table.String())
		for _, way := range []string{"encrypt", "decrypt"} {
			best := b.fastest(tools, way, pin)
			fmt.Fprintf(&text, "\nTo %s: %s × `cp`, %s × the fastest peer (%s).\n", way,
				report.Number(b.found.Ratio(ours+"/"+way+"/"+pin, plain+"/"+way+"/"+pin)),
				report.Number(b.found.Ratio(ours+"/"+way+"/"+pin, best.name+"/"+way+"/"+pin)), best.shown)
			b.plots = append(b.plots, b.plot(tools, strings.TrimSuffix(title, ",")+": "+way, way, pin))
		}
		text.WriteString("\n")
	}
	table := report.Table{Head: []string{"A file of one byte", "time, ms", "processor time, ms"}}
	for _, t := range tools {
		table.Row(t.shown, report.Number(b.found.Median(t.name+"/start")), report.Number(b.found.Median(t.name+"/start/cpu")))
	}
	text.WriteString(table.String())
	b.texts["files"] = text.String()
}

// fastest is the quickest tool that does what ours does.
func (b *bench) fastest(tools []tool, way, pin string) (best tool) {
	for _, t := range tools {
		if t.weaker || t.name == ours || t.name == plain {
			continue
		}
		if best.name == "" || b.found.Median(t.name+"/"+way+"/"+pin) > b.found.Median(best.name+"/"+way+"/"+pin) {
			best = t
		}
	}
	return best
}

func (b *bench) plot(tools []tool, title, way, pin string) report.Plot {
	p := report.Plot{Title: title, Unit: "MB/s"}
	for _, t := range tools {
		label := strings.NewReplacer("`", "", "*", "").Replace(t.shown)
		p.Bars = append(p.Bars, report.Bar{Label: label, Value: b.found.Median(t.name + "/" + way + "/" + pin), Ours: t.name == ours})
	}
	return p
}

// size writes a number of bytes in GiB or MiB.
func size(n int64) string {
	if n >= 1<<30 {
		return report.Number(float64(n)/(1<<30)) + " GiB"
	}
	return report.Number(float64(n)/(1<<20)) + " MiB"
}
