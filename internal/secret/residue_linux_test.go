// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha512"
	"encoding"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// The residue test asks what a dump of a working process holds. A child
// process gets keys through a pipe and works with them; this process, its
// parent, reads all of the child's memory that a core dump would contain and
// searches it for everything that equals a key or lets one be had at once.
// A second child that works the way ordinary programs do is the control: all
// the things searched for must be found in it, else the search proves nothing.

const (
	childVariable = "CLAVIGER_TEST_RESIDUE_CHILD"
	residueRounds = 2000
	residueKeys   = 3 * 32 // an AES key, an HMAC or derivation key, input for Extract
)

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "":
		os.Exit(m.Run())
	case "protected":
		runChild(newProtectedWork())
	case "ordinary":
		runChild(newOrdinaryWork())
	}
}

// work is what a child does with its keys.
type work interface {
	setup() // once per key: make and drop the objects
	use()   // per message
	where() []byte
}

// runChild goes through the phases, each announced and held until told to go on.
func runChild(w work) {
	in := bufio.NewReader(os.Stdin) // sees only the line ends: the keys are read
	phase := func(name string) {
		fmt.Println(name)
		if _, err := in.ReadString('\n'); err != nil {
			os.Exit(3)
		}
	}
	for range residueRounds {
		w.setup()
		w.use()
	}
	phase(fmt.Sprintf("%s %d", Protection(), addressOf(w.where())))
	for range 3 {
		runtime.GC()
	}
	phase("collected")
	stop := make(chan struct{})
	for range 4 {
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
					w.use()
				}
			}
		}()
	}
	phase("live")
	close(stop)
	runtime.KeepAlive(w)
}

type protectedWork struct {
	key, mac, ikm *Bytes
	aead          *AEAD
	hmac          *HMAC
}

func newProtectedWork() *protectedWork {
	p := &protectedWork{key: New(32), mac: New(32), ikm: New(32)}
	for _, b := range []*Bytes{p.key, p.mac, p.ikm} {
		mustRead(b.Expose())
	}
	p.setup()
	return p
}

func (p *protectedWork) setup() {
	p.aead.Wipe()
	p.hmac.Wipe()
	var err error
	p.aead, err = NewAEAD(p.key)
	if err != nil {
		panic(err)
	}
	p.hmac = NewHMAC(p.mac)
	c := p.key.Clone()
	if !c.Equal(p.key) {
		panic("a clone differs")
	}
	c.Wipe()
}

func (p *protectedWork) use() {
	// The nonce repeats; nobody sees the ciphertexts.
	nonce, text := make([]byte, NonceSize), make([]byte, 512)
	sealed := p.aead.Seal(nil, nonce, text, nil)
	if _, err := p.aead.Open(nil, nonce, sealed, nil); err != nil {
		panic(err)
	}
	p.hmac.Sum(text)
	Expand(p.mac, []byte(residueInfo), 32).Wipe()
	p.hmac.Expand([]byte(residueInfo), 32).Wipe()
	ExtractSecret(p.mac, p.ikm).Wipe()
}

func (p *protectedWork) where() []byte { return p.key.Expose() }

const residueInfo = "residue"

// ordinaryWork is the same with the standard library alone.
type ordinaryWork struct {
	key, mac, ikm []byte
	gcm           cipher.AEAD
	hmac          interface {
		io.Writer
		Sum([]byte) []byte
		Reset()
	}
	kept [][]byte
}

func newOrdinaryWork() *ordinaryWork {
	o := &ordinaryWork{key: make([]byte, 32), mac: make([]byte, 32), ikm: make([]byte, 32)}
	for _, b := range [][]byte{o.key, o.mac, o.ikm} {
		mustRead(b)
	}
	o.setup()
	return o
}

func (o *ordinaryWork) setup() {
	block, err := aes.NewCipher(o.key)
	if err == nil {
		fips140.WithoutEnforcement(func() { o.gcm, err = cipher.NewGCM(block) })
	}
	if err != nil {
		panic(err)
	}
	o.hmac = hmac.New(sha512.New, o.mac)
	out, err := hkdf.Expand(sha512.New, o.mac, residueInfo, 32)
	if err != nil {
		panic(err)
	}
	prk, err := hkdf.Extract(sha512.New, o.ikm, o.mac)
	if err != nil {
		panic(err)
	}
	o.kept = [][]byte{out, prk}
}

func (o *ordinaryWork) use() {
	nonce, text := make([]byte, NonceSize), make([]byte, 512)
	o.gcm.Seal(nil, nonce, text, nil)
	m := hmac.New(sha512.New, o.mac)
	m.Write(text)
	m.Sum(nil)
	m.Reset() // a second use saves the states
}

func (o *ordinaryWork) where() []byte { return o.key }

// mustRead fills p from the pipe by a system call straight into it.
func mustRead(p []byte) {
	if _, err := io.ReadFull(os.Stdin, p); err != nil {
		os.Exit(2)
	}
}

// needle is something that must not lie in readable memory, in all the byte
// orders in which it could.
type needle struct {
	name  string
	forms [][]byte
}

func needles(t *testing.T, keys []byte) []needle {
	t.Helper()
	key, mac, ikm := keys[:32], keys[32:64], keys[64:]
	out, err := hkdf.Expand(sha512.New, mac, residueInfo, 32)
	if err != nil {
		t.Fatal(err)
	}
	prk, err := hkdf.Extract(sha512.New, ikm, mac)
	if err != nil {
		t.Fatal(err)
	}
	l := []needle{
		{"AES key", [][]byte{key}},
		{"AES key, first half", [][]byte{key[:16]}},
		{"AES key, second half", [][]byte{key[16:]}},
		{"HMAC key", [][]byte{mac}},
		{"HMAC key, first half", [][]byte{mac[:16]}},
		{"HMAC key, second half", [][]byte{mac[16:]}},
		{"HMAC key ^ ipad", [][]byte{xor(mac, 0x36)}},
		{"HMAC key ^ opad", [][]byte{xor(mac, 0x5c)}},
		{"HMAC inner state", wordForms(midState(t, mac, 0x36)[:32], 8)},
		{"HMAC outer state", wordForms(midState(t, mac, 0x5c)[:32], 8)},
		{"input of Extract", [][]byte{ikm}},
		{"extracted key", wordForms(prk[:32], 8)},
		{"expanded key", wordForms(out, 8)},
	}
	return append(l, scheduleNeedles(t, key)...)
}

// scheduleNeedles takes round keys and the hash table from the standard
// library's own objects.
func scheduleNeedles(t *testing.T, key []byte) []needle {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	state := contents(block)
	at := -1
	for _, form := range wordForms(key, 4) {
		if i := bytes.Index(state, form); i >= 0 {
			at = i
		}
	}
	if at < 0 {
		t.Fatal("no key found at the start of its own schedule")
	}
	l := []needle{
		{"AES round keys 2 and 3", wordForms(bytes.Clone(state[at+32:at+64]), 4)},
		{"AES decryption round keys", wordForms(bytes.Clone(state[len(state)-64:len(state)-32]), 4)},
	}
	gcm := contents(stdGCM(t, key))
	if len(gcm) >= len(state)+256 { // the assembly versions have one
		l = append(l, needle{"GHASH table", [][]byte{bytes.Clone(gcm[len(gcm)-256 : len(gcm)-224])}})
	}
	return l
}

func xor(key []byte, pad byte) []byte {
	out := bytes.Clone(key)
	for i := range out {
		out[i] ^= pad
	}
	return out
}

// midState is SHA-512's chaining value after the key, padded, big-endian.
func midState(t *testing.T, key []byte, pad byte) []byte {
	t.Helper()
	d := sha512.New()
	d.Write(xor(append(bytes.Clone(key), make([]byte, hashBlock-len(key))...), pad))
	saved, err := d.(encoding.BinaryAppender).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return saved[4 : 4+hashSize]
}

// wordForms is p as bytes and as words of the given size in the other order.
func wordForms(p []byte, word int) [][]byte {
	swapped := bytes.Clone(p)
	for i := 0; i+word <= len(p); i += word {
		for j := range word {
			swapped[i+j] = p[i+word-1-j]
		}
	}
	return [][]byte{p, swapped}
}

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
	return m.readable && m.end-m.start < 4<<30 && !m.has("dd") && !m.has("io")
}

func (m mapping) has(flag string) bool { return strings.Contains(m.flags, " "+flag+" ") }

// search counts the needles in what a core dump of the child would hold.
func (c *child) search(t *testing.T, list []needle) map[string]int {
	t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	const overlap = 64
	found, total := map[string]int{}, 0
	buf := make([]byte, 1<<20+overlap)
	for _, m := range c.mappings(t) {
		if !m.dumped() {
			continue
		}
		for at := m.start; at < m.end; at += 1 << 20 {
			n, _ := mem.ReadAt(buf[:min(uint64(len(buf)), m.end-at)], int64(at))
			total += n
			for _, x := range list {
				for _, form := range x.forms {
					found[x.name] += bytes.Count(buf[:n], form)
				}
			}
		}
	}
	if total < 1<<20 {
		t.Fatalf("only %d bytes of the child could be read", total)
	}
	return found
}

func addressOf(p []byte) uint64 {
	var a uint64
	if _, err := fmt.Sscanf(fmt.Sprintf("%p", p), "0x%x", &a); err != nil {
		panic(err)
	}
	return a
}

func TestNoResidue(t *testing.T) {
	keys := randomBytes(residueKeys)
	list := needles(t, keys)
	ordinary := startChild(t, "ordinary", keys)
	control := ordinary.search(t, list)
	for range 2 { // the other phases
		ordinary.next(t)
		for name, n := range ordinary.search(t, list) {
			control[name] = max(control[name], n)
		}
	}
	c := startChild(t, "protected", keys)
	for _, phase := range []string{"idle", "collected", "live"} {
		if phase != "idle" {
			c.next(t)
		}
		found := c.search(t, list)
		for _, x := range list {
			t.Logf("%-9s %-28s %d (control %d)", phase, x.name, found[x.name], control[x.name])
			if found[x.name] != 0 {
				t.Errorf("%s: %s found %d times", phase, x.name, found[x.name])
			}
		}
	}
	for _, x := range list {
		if control[x.name] == 0 {
			t.Errorf("control: %s not found in a process that doesn't hide it", x.name)
		}
	}
}

// What the kernel says of the memory has to agree with Protection.
func TestProtectionIsReal(t *testing.T) {
	keys := randomBytes(residueKeys)
	c := startChild(t, "protected", keys)
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	got := make([]byte, 32)
	_, err = mem.ReadAt(got, int64(c.where))
	var held *mapping
	for _, m := range c.mappings(t) {
		if m.start <= c.where && c.where < m.end {
			held = &m
		}
	}
	if held == nil || !held.has("dd") || !held.has("dc") {
		t.Fatalf("the key's mapping is dumped or forked: %+v", held)
	}
	switch c.level {
	case "memfd_secret":
		if err == nil {
			t.Error("memfd_secret memory can be read from outside")
		}
	case "mlock":
		if err != nil || !bytes.Equal(got, keys[:32]) || !held.has("lo") {
			t.Errorf("mlock: flags %q, read %v", held.flags, err)
		}
	case "none":
		if err != nil || !bytes.Equal(got, keys[:32]) {
			t.Errorf("none: read %v", err)
		}
	default:
		t.Errorf("Protection() = %q", c.level)
	}
}
