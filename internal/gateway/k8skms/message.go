// SPDX-License-Identifier: Apache-2.0

package k8skms

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"claviger/internal/gateway/localrpc"
)

// The protocol's own limits, and ours.
const (
	MaxCiphertext  = 1 << 10 // bytes of what Encrypt gives
	MaxMessage     = 48 << 10
	maxKeyID       = 1 << 10
	maxUID         = 256
	maxAnnotations = 16
)

// encryptRequest asks to wrap a seed.
type encryptRequest struct {
	plaintext []byte
	uid       string
}

func readEncrypt(message []byte) (r encryptRequest, err error) {
	err = localrpc.Decode(message, map[int]localrpc.Field{1: localrpc.Bytes(&r.plaintext), 2: localrpc.String(&r.uid)})
	return r, first(err, checkUID(r.uid))
}

// decryptRequest asks to unwrap one.
type decryptRequest struct {
	ciphertext  []byte
	uid, keyID  string
	annotations map[string][]byte
}

func readDecrypt(message []byte) (r decryptRequest, err error) {
	r.annotations = map[string][]byte{}
	err = localrpc.Decode(message, map[int]localrpc.Field{
		1: localrpc.Bytes(&r.ciphertext), 2: localrpc.String(&r.uid), 3: localrpc.String(&r.keyID),
		4: {Many: true, Take: func(entry []byte) error { return readAnnotation(entry, r.annotations) }},
	})
	if len(r.ciphertext) > MaxCiphertext || len(r.keyID) > maxKeyID {
		err = first(err, fmt.Errorf("%w: it is longer than what Encrypt gives", localrpc.ErrMessage))
	}
	return r, first(err, checkUID(r.uid))
}

// readAnnotation reads one entry of a map.
func readAnnotation(entry []byte, into map[string][]byte) error {
	var name string
	var value []byte
	if err := localrpc.Decode(entry, map[int]localrpc.Field{1: localrpc.String(&name), 2: localrpc.Bytes(&value)}); err != nil {
		return err
	}
	if _, twice := into[name]; twice || len(into) == maxAnnotations {
		return fmt.Errorf("%w: annotations", localrpc.ErrMessage)
	}
	into[name] = value
	return nil
}

// checkUID bounds what comes into the log.
func checkUID(uid string) error {
	if len(uid) > maxUID {
		return fmt.Errorf("%w: uid", localrpc.ErrMessage)
	}
	return nil
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// status is the answer to Status.
type status struct{ version, healthz, keyID string }

func (s status) encode() []byte {
	out := localrpc.AppendBytes(nil, 1, s.version)
	out = localrpc.AppendBytes(out, 2, s.healthz)
	return localrpc.AppendBytes(out, 3, s.keyID)
}

// wrapped is the answer to Encrypt.
type wrapped struct {
	ciphertext  []byte
	keyID       string
	annotations map[string][]byte
}

func (w wrapped) encode() []byte {
	out := localrpc.AppendBytes(nil, 1, w.ciphertext)
	out = localrpc.AppendBytes(out, 2, w.keyID)
	for _, name := range slices.Sorted(maps.Keys(w.annotations)) {
		entry := localrpc.AppendBytes(localrpc.AppendBytes(nil, 1, name), 2, w.annotations[name])
		out = localrpc.AppendBytes(out, 3, entry)
	}
	return out
}

// bind is the context of a ciphertext: what it is for, and the annotations, each part
// with its length.
func bind(annotations map[string][]byte) []byte {
	var out bytes.Buffer
	out.WriteString("kubernetes kms v2\x00")
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		for _, part := range [][]byte{[]byte(name), annotations[name]} {
			out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
			out.Write(part)
		}
	}
	return out.Bytes()
}

// line is a caller's text for the log: printable ASCII.
func line(s string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e {
			return '?'
		}
		return c
	}, s)
}
