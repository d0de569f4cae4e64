// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"io"
	"os"
	"testing"
)

const benchSize = 64 << 20

// BenchmarkRawGCM is the limit: AES-256-GCM alone, in chunks of 16 KiB, into
// memory that is there already.
func BenchmarkRawGCM(b *testing.B) {
	block, err := aes.NewCipher(random(32))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	plain := make([]byte, benchSize)
	nonce := make([]byte, 12)
	room := make([]byte, 0, benchSize+benchSize/chunk*16)
	b.SetBytes(benchSize)
	for b.Loop() {
		out := room
		for i := 0; i < benchSize; i += chunk {
			binary.BigEndian.PutUint64(nonce, uint64(i))
			out = gcm.Seal(out, nonce, plain[i:i+chunk], nil)
		}
	}
}

func BenchmarkEncrypt(b *testing.B) {
	k := leafKey(b, testRef(""))
	plain := make([]byte, benchSize)
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := Encrypt(b.Context(), k, plain, Options{Workers: 1}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	k := leafKey(b, testRef(""))
	object := encrypt(b, k, make([]byte, benchSize), Options{})
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := Decrypt(b.Context(), k, object, Options{Workers: 1}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncryptStream(b *testing.B) {
	k := leafKey(b, testRef(""))
	plain := make([]byte, benchSize)
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := EncryptStream(b.Context(), k, io.Discard, bytes.NewReader(plain), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriter(b *testing.B) {
	k := leafKey(b, testRef(""))
	plain := make([]byte, benchSize)
	b.SetBytes(benchSize)
	for b.Loop() {
		w := must[*Writer](b)(NewWriter(b.Context(), k, io.Discard, Options{}))
		if _, err := io.Copy(w, bytes.NewReader(plain)); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFiles seals and opens between files in the page cache.
func BenchmarkFiles(b *testing.B) {
	k := leafKey(b, testRef(""))
	dir := b.TempDir()
	create := func(name string) *os.File {
		f := must[*os.File](b)(os.Create(dir + "/" + name))
		b.Cleanup(func() { f.Close() })
		return f
	}
	plain, object, again := create("plain"), create("object"), create("again")
	must[int](b)(plain.Write(make([]byte, benchSize)))
	var size int64
	b.Run("Encrypt", func(b *testing.B) {
		b.SetBytes(benchSize)
		for b.Loop() {
			size = must[int64](b)(EncryptFile(b.Context(), k, object, plain, benchSize, Options{}))
		}
	})
	b.Run("Decrypt", func(b *testing.B) {
		b.SetBytes(benchSize)
		for b.Loop() {
			must[int64](b)(DecryptFile(b.Context(), k, again, object, size, Options{}))
		}
	})
	b.Run("Copy", func(b *testing.B) {
		b.SetBytes(benchSize)
		for b.Loop() {
			src := io.NewSectionReader(plain, 0, benchSize)
			dst := io.NewOffsetWriter(again, 0)
			must[int64](b)(io.CopyBuffer(dst, src, make([]byte, 1<<20)))
		}
	})
}

func BenchmarkSmall(b *testing.B) {
	k := leafKey(b, testRef(""))
	plain := random(1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encrypt(b.Context(), k, plain, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealField(b *testing.B) {
	k := leafKey(b, testRef("tenant"))
	plain, column := random(100), []byte("t.c/17")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.SealField(plain, column); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenField(b *testing.B) {
	k := leafKey(b, testRef("tenant"))
	column := []byte("t.c/17")
	field := must[[]byte](b)(k.SealField(random(100), column))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.OpenField(field, column); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadAt4KiB(b *testing.B) {
	k := leafKey(b, testRef(""))
	object := encrypt(b, k, make([]byte, benchSize), Options{})
	r := must[*ReaderAt](b)(NewReaderAt(b.Context(), k, bytes.NewReader(object), int64(len(object)), Options{}))
	p := make([]byte, 4096)
	var at [8]byte
	b.ReportAllocs()
	b.SetBytes(4096)
	for b.Loop() {
		rand.Read(at[:])
		off := int64(binary.BigEndian.Uint64(at[:]) % (benchSize - 4096))
		if _, err := r.ReadAt(p, off); err != nil {
			b.Fatal(err)
		}
	}
}
