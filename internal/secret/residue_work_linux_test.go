// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha512"
	"fmt"
	"io"
	"os"
	"runtime"
)

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
