// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"claviger/internal/audit/disk"
	"claviger/internal/wire"
)

// maxNote bounds a signed checkpoint: 16 signatures fit (C2SP signed-note).
const maxNote = 64 << 10

// Checkpoint is a signed statement of a log's size and root hash.
type Checkpoint struct {
	wire.Checkpoint
	Note []byte // the signed note (C2SP tlog-checkpoint)
}

// Origin is a log's name in its checkpoints, and the name of the key that signs
// them: domain id and server id in hexadecimal, and the log's number.
func Origin(domain wire.DomainID, server wire.ServerID, number uint64) string {
	return fmt.Sprintf("%s/%s/%d", domain, server, number)
}

// checkpointText is the text of a checkpoint (C2SP tlog-checkpoint).
func checkpointText(origin string, size uint64, root wire.Hash) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, size, base64.StdEncoding.EncodeToString(root[:]))
}

// noteKey signs notes with a key that may live in hardware.
type noteKey struct {
	signer crypto.Signer
	public ed25519.PublicKey
}

func newNoteKey(s crypto.Signer) (*noteKey, error) {
	if s == nil {
		return nil, fmt.Errorf("%w: no signing key", ErrConfig)
	}
	public, ok := s.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: checkpoints are signed with Ed25519 only", ErrConfig)
	}
	return &noteKey{s, public}, nil
}

// named is a noteKey under the name of one log.
type named struct {
	*noteKey
	name string
}

func (n named) Name() string    { return n.name }
func (n named) KeyHash() uint32 { return noteKeyHash(n.name, n.public) }
func (n named) Sign(text []byte) ([]byte, error) {
	return n.signer.Sign(rand.Reader, text, crypto.Hash(0))
}

// noteKeyHash is the key id of an Ed25519 key (C2SP signed-note, Signatures).
func noteKeyHash(name string, public ed25519.PublicKey) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n\x01"))
	h.Write(public)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// VerifierKey returns the key that verifies a log's checkpoints, in the form
// that tools for signed notes take (C2SP signed-note, Verifier keys).
func VerifierKey(origin string, public ed25519.PublicKey) (string, error) {
	return note.NewEd25519VerifierKey(origin, public)
}

// ParseCheckpoint verifies a signed checkpoint of the log with this origin and
// reads it. Signatures of other keys, such as witnesses, may stand beside. The
// log's number is not in the result: it is part of the origin.
func ParseCheckpoint(signed []byte, origin string, public ed25519.PublicKey) (Checkpoint, error) {
	if len(signed) > maxNote {
		return Checkpoint{}, fmt.Errorf("parse checkpoint: %w", wire.ErrMalformed)
	}
	vkey, err := VerifierKey(origin, public)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("parse checkpoint: %w", err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("parse checkpoint: %w", err)
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("verify checkpoint: %w", err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 {
		return Checkpoint{}, fmt.Errorf("parse checkpoint: %w", wire.ErrMalformed)
	}
	size, err1 := strconv.ParseUint(lines[1], 10, 63)
	root, err2 := base64.StdEncoding.DecodeString(lines[2])
	if err1 != nil || err2 != nil || len(root) != sha256.Size {
		return Checkpoint{}, fmt.Errorf("parse checkpoint: %w", wire.ErrMalformed)
	}
	// One text per checkpoint: another origin, leading zeros, other base 64 are
	// refused here, whoever signed them.
	if checkpointText(origin, size, wire.Hash(root)) != opened.Text {
		return Checkpoint{}, fmt.Errorf("parse checkpoint: %w", wire.ErrMalformed)
	}
	return Checkpoint{wire.Checkpoint{Size: size, Root: wire.Hash(root)}, signed}, nil
}

// Checkpoint signs the size and root of what is durable now, keeps it in the
// log's directory and returns it. It is durable before it is returned: a log
// that comes back shorter than what was signed is never continued. Without new
// leaves the last one is returned again, also after Close. Error: [ErrStopped].
func (l *Log) Checkpoint() (Checkpoint, error) {
	switch err := l.Healthy(); {
	case errors.Is(err, ErrClosed):
		<-l.over
		l.signing.Lock()
		defer l.signing.Unlock()
		return l.last, nil
	case err != nil:
		return Checkpoint{}, err
	}
	return l.checkpoint()
}

func (l *Log) checkpoint() (Checkpoint, error) {
	l.signing.Lock()
	defer l.signing.Unlock()
	l.state.Lock()
	now := wire.Checkpoint{Log: l.state.number, Size: l.state.tree.size, Root: l.state.tree.root()}
	l.state.Unlock()
	if now == l.last.Checkpoint {
		return l.last, nil
	}
	name := Origin(l.o.Domain, l.o.Server, now.Log)
	signed, err := note.Sign(&note.Note{Text: checkpointText(name, now.Size, now.Root)}, named{l.key, name})
	if err != nil {
		return Checkpoint{}, l.stopped(fmt.Errorf("sign checkpoint: %w", err))
	}
	if err := disk.WriteFile(l.fs, filepath.Join(numberDir(l.o.Dir, now.Log), checkpointName), signed); err != nil {
		return Checkpoint{}, l.stopped(fmt.Errorf("write checkpoint: %w", err))
	}
	l.last = Checkpoint{now, signed}
	return l.last, nil
}

// stopped ends the log and returns why.
func (l *Log) stopped(cause error) error {
	l.fail(cause, nil)
	return l.Healthy()
}
