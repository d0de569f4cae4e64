// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// child is a running child and what it last said.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	level string
	where uint64
}

func startChild(t *testing.T, kind string, keys []byte) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childVariable+"="+kind)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := in.Write(keys); err != nil {
		t.Fatal(err)
	}
	line := strings.Fields(c.line(t))
	if len(line) != 2 {
		t.Fatalf("the child said %q", line)
	}
	c.level = line[0]
	c.where, err = strconv.ParseUint(line[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *child) line(t *testing.T) string {
	t.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the child ended: %v", err)
	}
	return strings.TrimSpace(s)
}

func (c *child) next(t *testing.T) {
	t.Helper()
	if _, err := c.in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	c.line(t)
}

// mapping is one line of /proc/PID/smaps with what belongs to it.
type mapping struct {
	start, end uint64
	readable   bool
	flags      string
}

func (c *child) mappings(t *testing.T) []mapping {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var l []mapping
	for line := range strings.Lines(string(data)) {
		var m mapping
		var perm string
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok {
			l[len(l)-1].flags = flags
		} else if n, _ := fmt.Sscanf(line, "%x-%x %s", &m.start, &m.end, &perm); n == 3 {
			m.readable = strings.HasPrefix(perm, "r")
			l = append(l, m)
		}
	}
	return l
}

// dumped reports whether a core dump would have the mapping. The race
// detector's shadow, terabytes without contents of ours, is left out.
func (m mapping) dumped() bool {
	return m.readable && m.end-m.start < 1<<30 && !m.has("dd") && !m.has("io")
}

func (m mapping) has(flag string) bool { return strings.Contains(m.flags, " "+flag+" ") }

// present returns the runs of pages that a dump would have and that exist, by
// /proc/PID/pagemap: bit 63 is set for a page in memory, 62 for one in swap.
func (c *child) present(t *testing.T) []mapping {
	t.Helper()
	pages, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer pages.Close()
	size := uint64(os.Getpagesize())
	var runs []mapping
	for _, m := range c.mappings(t) {
		if !m.dumped() {
			continue
		}
		entries := make([]byte, (m.end-m.start)/size*8)
		n, _ := pages.ReadAt(entries, int64(m.start/size*8))
		for i := 0; i+8 <= n; i += 8 {
			if entries[i+7]&0xc0 == 0 {
				continue
			}
			at := m.start + uint64(i/8)*size
			if last := len(runs) - 1; last >= 0 && runs[last].end == at {
				runs[last].end += size
			} else {
				runs = append(runs, mapping{start: at, end: at + size})
			}
		}
	}
	return runs
}

// hits counts where a needle was found.
type hits struct{ memory, registers int }

// search counts the needles in what a core dump of the child would hold.
func (c *child) search(t *testing.T, list []needle) map[string]hits {
	t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	const step = 1 << 20
	found, total := map[string]hits{}, 0
	buf := make([]byte, around+step+around)
	for _, r := range c.present(t) {
		for at := r.start; at < r.end; at += step {
			from, to := max(r.start, at-around), min(r.end, at+step+around)
			n, _ := mem.ReadAt(buf[:to-from], int64(from))
			total += n
			view := window{buf[:n], int(at - from), int(at-from) + step}
			for _, x := range list {
				h := view.count(x)
				found[x.name] = hits{found[x.name].memory + h.memory, found[x.name].registers + h.registers}
			}
		}
	}
	if total < 1<<20 {
		t.Fatalf("only %d bytes of the child could be read", total)
	}
	return found
}

// window is a piece of memory; what starts in [from, to) counts.
type window struct {
	mem      []byte
	from, to int
}

func (w window) count(x needle) (h hits) {
	for _, form := range x.forms {
		for i := 0; ; i++ {
			next := bytes.Index(w.mem[i:], form)
			if next < 0 {
				break
			}
			i += next
			switch {
			case i < w.from || i >= w.to:
			case x.piece && (inSignalFrame(w.mem, i) || inPreempted(w.mem, i)):
				h.registers++
			default:
				h.memory++
			}
		}
	}
	return h
}

// inSignalFrame reports whether mem[at] lies among the vector registers that
// the kernel saved for a signal handler: within an XSAVE area on amd64, marked
// by FP_XSTATE_MAGIC1 and its size at offset 464 (asm/sigcontext.h), or an
// fpsimd_context on arm64, marked at its start.
func inSignalFrame(mem []byte, at int) bool {
	for _, mark := range []struct {
		magic  string
		offset int
	}{{"SXPF", 464}, {"\x01\x80PF", 0}} {
		for i := max(0, at-around); ; i++ {
			next := bytes.Index(mem[i:min(len(mem)-4, at+around)], []byte(mark.magic))
			if next < 0 {
				break
			}
			i += next
			start, size := i-mark.offset, int(binary.LittleEndian.Uint32(mem[i+4:]))
			if start <= at && at < start+size {
				return true
			}
		}
	}
	return false
}

// inPreempted reports whether mem[at] starts a register in the place where the
// Go runtime saves those of a preempted goroutine (runtime/preempt_amd64.go):
// 16 or more slots of 64 bytes, of which the standard library's cryptography
// uses at most the lower half.
func inPreempted(mem []byte, at int) bool {
	const slot, slots = 64, 16
	for start := at - (slots-1)*slot; start <= at; start += slot {
		if start < 0 || start+slots*slot > len(mem) {
			continue
		}
		upper := byte(0)
		for s := start; s < start+slots*slot; s += slot {
			for _, b := range mem[s+slot/2 : s+slot] {
				upper |= b
			}
		}
		if upper == 0 {
			return true
		}
	}
	return false
}

func addressOf(p []byte) uint64 {
	var a uint64
	if _, err := fmt.Sscanf(fmt.Sprintf("%p", p), "0x%x", &a); err != nil {
		panic(err)
	}
	return a
}
