// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"

	"claviger/internal/wire"
)

// FaultKind names what is wrong.
type FaultKind string

// The faults that a verifier tells apart.
const (
	Unsigned     FaultKind = "unsigned"     // no checkpoint that the server's key signed, or leaves after the last one
	Truncated    FaultKind = "truncated"    // leaves are missing at the end
	Dropped      FaultKind = "dropped"      // a leaf is missing in between
	Inserted     FaultKind = "inserted"     // a leaf was added
	Edited       FaultKind = "edited"       // a leaf is not the one that was signed
	Reordered    FaultKind = "reordered"    // the leaves are all there, in another order
	Unexplained  FaultKind = "unexplained"  // the leaves don't hash to the checkpoint, nor do the hashes
	Forked       FaultKind = "forked"       // another checkpoint of the same size has another root
	Gap          FaultKind = "gap"          // a log, or the link to the one before, is missing
	Skipped      FaultKind = "skipped"      // a receipt's leaf isn't there
	Contradicted FaultKind = "contradicted" // a receipt's leaf says something else
	TwoKeys      FaultKind = "two-keys"     // one name, two key commitments
	MissingBlob  FaultKind = "missing-blob" // a leaf names a blob that isn't there
	EditedBlob   FaultKind = "edited-blob"  // a blob is not what its name says
	Malformed    FaultKind = "malformed"    // a signed leaf that no version of this log writes
)

// Fault is one thing that is wrong, and where.
type Fault struct {
	Kind   FaultKind
	Server wire.ServerID
	Log    uint64
	Index  uint64 // of the first leaf concerned; 0 where none is
	Detail string // for people; it quotes nothing of a leaf but names
}

// Report is what verification found.
type Report struct {
	Logs   []LogReport
	Faults []Fault // at most MaxFaults
	More   uint64  // faults beyond those
}

// LogReport sums up one log. Nothing in it is true unless the report has no
// fault.
type LogReport struct {
	Server  wire.ServerID
	Number  uint64
	Size    uint64 // leaves
	Root    wire.Hash
	Allowed uint64 // decisions that allowed
	Denied  uint64 // decisions that denied
	First   int64  // Unix milliseconds of the first leaf
	Last    int64  // and of the last
	GivenUp string // why the server did not continue the log before this one
}

// OK reports whether nothing is wrong.
func (r Report) OK() bool { return len(r.Faults) == 0 }

// MaxFaults bounds a report.
const MaxFaults = 1000

// Anchor is a checkpoint that is believed on other grounds: from the authority
// log, a statement, a witness or a client's memory.
type Anchor struct {
	Server wire.ServerID
	wire.Checkpoint
	Source string // where it is from, for the report
}

// VerifyOptions says what to believe and what to look for.
type VerifyOptions struct {
	Domain   wire.DomainID
	Keys     map[wire.ServerID]ed25519.PublicKey // of every server that ever joined
	Anchors  []Anchor
	Receipts []Receipt
}

// Verifier checks archives offline. It holds one log's hashes at a time, and
// for the whole of them 48 bytes per distinct key name and partition. It is not
// safe for concurrent use.
type Verifier struct {
	o        VerifyOptions
	report   Report
	seen     map[logName]*LogReport
	anchors  map[logName][]Anchor
	receipts map[leafName][]*pending
	waiting  []*pending
	keys     map[[16]byte]keyClaim
	finished bool
}

type logName struct {
	server wire.ServerID
	number uint64
}

type leafName struct {
	logName
	index uint64
}

type pending struct {
	Receipt
	found bool
}

// keyClaim is the first commitment seen for one name.
type keyClaim struct {
	kc [16]byte // its first half: a second key that agrees on it can't be found
	at Position
}

// NewVerifier returns a verifier. Anchors that contradict each other are a
// fault already.
func NewVerifier(o VerifyOptions) *Verifier {
	v := &Verifier{o: o, seen: map[logName]*LogReport{}, anchors: map[logName][]Anchor{}, receipts: map[leafName][]*pending{}, keys: map[[16]byte]keyClaim{}}
	for _, a := range o.Anchors {
		v.anchor(a)
	}
	for _, r := range o.Receipts {
		p := &pending{Receipt: r}
		name := leafName{logName{r.Server, r.Position.Log}, r.Position.Index}
		v.receipts[name] = append(v.receipts[name], p)
		v.waiting = append(v.waiting, p)
	}
	return v
}

// Verify checks archives, oldest first where two are of one server, and reports.
func Verify(o VerifyOptions, archives ...io.Reader) (Report, error) {
	v := NewVerifier(o)
	for i, r := range archives {
		if err := v.Archive(r); err != nil {
			return v.Report(), fmt.Errorf("verify archive %d: %w", i+1, err)
		}
	}
	return v.Report(), nil
}

// anchor adds a checkpoint to hold against the logs.
func (v *Verifier) anchor(a Anchor) {
	name := logName{a.Server, a.Log}
	for _, b := range v.anchors[name] {
		if a.Size == b.Size && a.Root != b.Root {
			v.fault(Fault{Kind: Forked, Server: a.Server, Log: a.Log,
				Detail: fmt.Sprintf("%s and %s have different roots for %d leaves", a.Source, b.Source, a.Size)})
		}
	}
	v.anchors[name] = append(v.anchors[name], a)
}

func (v *Verifier) fault(f Fault) {
	if len(v.report.Faults) == MaxFaults {
		v.report.More++
		return
	}
	v.report.Faults = append(v.report.Faults, f)
}

// Archive checks one archive. What is wrong with the logs goes into the report;
// an error means that the archive could not be read on: [ErrArchive], an
// unknown server, or a log of which a longer archive was read before.
func (v *Verifier) Archive(r io.Reader) error {
	a, domain, server, err := openArchive(r)
	if err != nil {
		return err
	}
	if domain != v.o.Domain {
		return fmt.Errorf("%w: it is of domain %s", ErrArchive, domain)
	}
	key := v.o.Keys[server]
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: server %s is not known", ErrArchive, server)
	}
	var before *check
	for {
		number, more, err := a.number()
		if err != nil {
			return err
		}
		if !more {
			if before != nil {
				before.signedEnd()
			}
			return nil
		}
		if before != nil && number <= before.name.number {
			return fmt.Errorf("%w: log %d out of order", ErrArchive, number)
		}
		c := v.newCheck(logName{server, number}, key)
		if err := a.log(number, c); err != nil {
			return err
		}
		if old := v.seen[c.name]; old != nil && old.Size > c.bodies.size {
			return fmt.Errorf("%w: log %d was read with %d leaves before: the oldest archive comes first", ErrArchive, number, old.Size)
		}
		c.finish(before)
		before = c
	}
}

// Report ends the verification: what was anchored or receipted and didn't come
// is missing.
func (v *Verifier) Report() Report {
	if v.finished {
		return v.report
	}
	v.finished = true
	for name, list := range v.anchors {
		if v.seen[name] == nil {
			v.fault(Fault{Kind: Gap, Server: name.server, Log: name.number, Detail: "the log of " + list[0].Source + " isn't in any archive"})
		}
	}
	for _, p := range v.waiting {
		if !p.found {
			v.fault(Fault{Kind: Skipped, Server: p.Server, Log: p.Position.Log, Index: p.Position.Index,
				Detail: "a client holds a receipt of this leaf, and no archive has it"})
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(v.seen), compareLogs) {
		v.report.Logs = append(v.report.Logs, *v.seen[name])
	}
	slices.SortStableFunc(v.report.Faults, func(a, b Fault) int {
		if c := compareLogs(logName{a.Server, a.Log}, logName{b.Server, b.Log}); c != 0 {
			return c
		}
		return compare(a.Index, b.Index)
	})
	return v.report
}

func compareLogs(a, b logName) int {
	if c := slices.Compare(a.server[:], b.server[:]); c != 0 {
		return c
	}
	return compare(a.number, b.number)
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// claim notes a leaf's key commitment and finds a second one for its name
// (attack scenario 10). Several servers are held against each other too.
func (v *Verifier) claim(l *Leaf, at leafName) {
	if l.KC.IsZero() {
		return
	}
	name := wire.Sum("audit-name", l.KeyID[:], fmt.Append(nil, l.Version), []byte(l.Purpose), l.Partition)
	claim := keyClaim{[16]byte(l.KC[:16]), Position{Log: at.number, Index: at.index}}
	first, ok := v.keys[[16]byte(name[:16])]
	if !ok {
		v.keys[[16]byte(name[:16])] = claim
		return
	}
	if first.kc != claim.kc {
		v.fault(Fault{Kind: TwoKeys, Server: at.server, Log: at.number, Index: at.index,
			Detail: fmt.Sprintf("another key for version %d of key %s, purpose %q, than leaf %s has", l.Version, l.KeyID, l.Purpose, first.at)})
	}
}

// emptyRoot is the root of a log without leaves.
func emptyRoot() wire.Hash { return sha256.Sum256(nil) }
