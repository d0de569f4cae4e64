// SPDX-License-Identifier: Apache-2.0

package root

import (
	"bytes"
	"crypto/fips140"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"claviger/internal/secret"
)

// MaxShares is how many custodians a sharing can have.
const MaxShares = 32

const (
	sharingSize = 16
	maxSealed   = 8 << 10 // an armored share to a hybrid recipient takes about 3 KB
)

// shareSet describes a sharing and holds its sealed shares. It is public: the
// commitments are keyed by salts that only the shares hold.
type shareSet struct {
	Sharing    hexBytes    `json:"sharing"`   // 16 random bytes
	Threshold  int         `json:"threshold"` // k
	Custodians []custodian `json:"custodians"`
}

// custodian holds the share whose index is his place in the list, from 1.
type custodian struct {
	Recipient  string   `json:"recipient"`            // age1… or age1pq1…
	Commitment hexBytes `json:"commitment,omitempty"` // 32 bytes
	Sealed     string   `json:"sealed,omitempty"`     // an armored age file with the share's text
}

// description is the set without what is made after the shares: what the shares
// bind themselves to.
func (s *shareSet) description() *shareSet {
	bare := &shareSet{Sharing: s.Sharing, Threshold: s.Threshold}
	for _, c := range s.Custodians {
		bare.Custodians = append(bare.Custodians, custodian{Recipient: c.Recipient})
	}
	return bare
}

func (s *shareSet) check() error {
	if len(s.Sharing) != sharingSize {
		return errors.New("sharing id of a wrong size")
	}
	if n := len(s.Custodians); n < 1 || n > MaxShares || s.Threshold < 1 || s.Threshold > n {
		return errors.New("threshold or number of custodians out of range")
	}
	seen := make(map[string]bool)
	for _, c := range s.Custodians {
		if err := checkRecipientText(c.Recipient); err != nil {
			return err
		}
		if seen[c.Recipient] {
			return errors.New("a custodian twice")
		}
		seen[c.Recipient] = true
		if len(c.Commitment) != Size || len(c.Sealed) == 0 || len(c.Sealed) > maxSealed {
			return errors.New("a share's commitment or seal of a wrong size")
		}
	}
	return nil
}

// parseRecipients parses age recipients of the two native kinds. Plug-in and
// SSH recipients are refused: the one runs programs by a name from the data,
// the other's keys serve elsewhere too.
func parseRecipients(texts []string) ([]age.Recipient, []custodian, error) {
	var recipients []age.Recipient
	var custodians []custodian
	seen := make(map[string]bool)
	for i, text := range texts {
		recipient, err := parseRecipient(text)
		if err != nil {
			return nil, nil, fmt.Errorf("custodian %d: %w", i+1, err)
		}
		canonical := fmt.Sprint(recipient)
		if seen[canonical] {
			return nil, nil, fmt.Errorf("custodian %d is named twice: each share needs its own", i+1)
		}
		seen[canonical] = true
		recipients = append(recipients, recipient)
		custodians = append(custodians, custodian{Recipient: canonical})
	}
	return recipients, custodians, nil
}

func parseRecipient(text string) (age.Recipient, error) {
	if strings.HasPrefix(text, "age1pq1") {
		recipient, err := age.ParseHybridRecipient(text)
		if err != nil {
			return nil, errors.New("malformed age1pq1 recipient")
		}
		return recipient, nil
	}
	recipient, err := age.ParseX25519Recipient(text)
	if err != nil {
		return nil, errors.New("no native age recipient (age1… or age1pq1…)")
	}
	return recipient, nil
}

// sealShares fills f's share set: how.Threshold of the recipients open root.
func (f *custodyFile) sealShares(root *secret.Bytes, how Sealing) error {
	if fips140.Enforced() {
		return fmt.Errorf("shares sealed with age (ChaCha20-Poly1305): %w: use a key file or an HSM", ErrFIPS)
	}
	if n := len(how.Recipients); n < 1 || n > MaxShares || how.Threshold < 1 || how.Threshold > n {
		return fmt.Errorf("%d of %d shares: 1 ≤ threshold ≤ custodians ≤ %d is wanted", how.Threshold, n, MaxShares)
	}
	to, custodians, err := parseRecipients(how.Recipients)
	if err != nil {
		return err
	}
	f.Shares = &shareSet{Sharing: make([]byte, sharingSize), Threshold: how.Threshold, Custodians: custodians}
	rand.Read(f.Shares.Sharing)
	texts, err := f.makeShares(root)
	if err != nil {
		return err
	}
	defer wipeAll(texts)
	for i, text := range texts {
		f.Shares.Custodians[i].Sealed, err = ageSeal(text, to[i])
		if err != nil {
			return fmt.Errorf("seal share %d: %w", i+1, err)
		}
		if how.Keep != nil {
			how.Keep(text.Clone())
		}
	}
	return f.proveShares(texts)
}

// makeShares splits root, writes the commitments and returns the shares' texts.
func (f *custodyFile) makeShares(root *secret.Bytes) ([]*secret.Bytes, error) {
	set, err := f.setHash()
	if err != nil {
		return nil, err
	}
	values := split(root, f.Shares.Threshold, len(f.Shares.Custodians))
	defer wipeAll(values)
	var texts []*secret.Bytes
	for i, value := range values {
		share := shareText{value: value, salt: secret.Random(saltSize), place: f.place(set, i+1)}
		f.Shares.Custodians[i].Commitment = share.commitment()
		texts = append(texts, share.encode())
		share.salt.Wipe()
	}
	return texts, nil
}

// setHash names the whole description of the sharing: version, generation,
// fingerprint, sharing id, threshold, custodians in their order.
func (f *custodyFile) setHash() ([]byte, error) {
	header, err := f.header()
	sum := sha256.Sum256(header)
	return sum[:], err
}

func (f *custodyFile) place(set []byte, index int) sharePlace {
	return sharePlace{
		sharing:     f.Shares.Sharing,
		set:         set,
		index:       index,
		threshold:   f.Shares.Threshold,
		shares:      len(f.Shares.Custodians),
		generation:  f.Generation,
		fingerprint: f.Fingerprint,
	}
}

// commitment is HMAC-SHA512 under the share's salt, cut to 32 bytes. The salt
// hides the value; two values with one commitment would be a collision of
// SHA-512.
func (s *shareText) commitment() []byte {
	mac := secret.NewHMAC(s.salt)
	defer mac.Wipe()
	sum := mac.Sum(info("share", s.place.lines()), s.value.Expose())
	return sum[:Size]
}

// proveShares reads the shares back as opening will, and combines every
// threshold neighbours, before anyone relies on them.
func (f *custodyFile) proveShares(texts []*secret.Bytes) error {
	n, k := len(texts), f.Shares.Threshold
	for first := range n {
		var chosen []*secret.Bytes
		for i := range k {
			chosen = append(chosen, texts[(first+i)%n])
		}
		root, err := f.openShares(chosen)
		if err != nil {
			return fmt.Errorf("read the new shares back: %w", err)
		}
		s := newSecret(root, f.Generation)
		s.Wipe()
		if !bytes.Equal(s.fingerprint[:], f.Fingerprint) {
			return errors.New("read the new shares back: they give another secret")
		}
	}
	return nil
}

func wipeAll(secrets []*secret.Bytes) {
	for _, s := range secrets {
		s.Wipe()
	}
}

// ageSeal encrypts text to recipient as an armored age file. age works in
// ordinary memory.
func ageSeal(text *secret.Bytes, recipient age.Recipient) (string, error) {
	var out strings.Builder
	armored := armor.NewWriter(&out)
	sealed, err := age.Encrypt(armored, recipient)
	if err != nil {
		return "", err
	}
	_, err = sealed.Write(text.Expose())
	for _, closer := range []io.Closer{sealed, armored} {
		if closed := closer.Close(); err == nil {
			err = closed
		}
	}
	return out.String(), err
}

// judge checks one share alone against the custody file. Its errors complete a
// sentence that begins with the share.
func (f *custodyFile) judge(s *shareText) error {
	set, err := f.setHash()
	if err != nil {
		return err
	}
	if !bytes.Equal(s.place.sharing, f.Shares.Sharing) {
		return fmt.Errorf("belongs to another sharing (%x, wanted %x)", s.place.sharing, []byte(f.Shares.Sharing))
	}
	if s.place.index > len(f.Shares.Custodians) {
		return fmt.Errorf("has index %d of %d", s.place.index, len(f.Shares.Custodians))
	}
	want := f.place(set, s.place.index)
	if !bytes.Equal(s.place.lines(), want.lines()) {
		return errors.New("was made for another custody file")
	}
	if subtle.ConstantTimeCompare(s.commitment(), f.Shares.Custodians[s.place.index-1].Commitment) != 1 {
		return errors.New("does not match its commitment: it was changed")
	}
	return nil
}

// openShares combines the shares' texts to the root secret. Every text is
// judged first; one that is bad or given twice refuses all and is named.
func (f *custodyFile) openShares(texts []*secret.Bytes) (*secret.Bytes, error) {
	var good []*shareText
	defer func() {
		for _, share := range good {
			share.wipe()
		}
	}()
	var bad BadSharesError
	given := make(map[int]int) // index → position of the text
	for i, text := range texts {
		share, err := parseShare(text)
		if err != nil {
			bad = append(bad, BadShare{Position: i + 1, Problem: err.Error()})
			continue
		}
		good = append(good, share)
		err = f.judge(share)
		if first := given[share.place.index]; err == nil && first != 0 {
			err = fmt.Errorf("is the same as number %d", first)
		}
		if err != nil {
			bad = append(bad, f.badShare(i+1, share, err))
			continue
		}
		given[share.place.index] = i + 1
	}
	if len(bad) != 0 {
		return nil, bad
	}
	return f.combine(good)
}

func (f *custodyFile) badShare(position int, share *shareText, problem error) BadShare {
	bad := BadShare{Position: position, Problem: problem.Error()}
	if bytes.Equal(share.place.sharing, f.Shares.Sharing) && share.place.index <= len(f.Shares.Custodians) {
		bad.Index = share.place.index
		bad.Custodian = f.Shares.Custodians[bad.Index-1].Recipient
	}
	return bad
}

// combine uses the first threshold shares; all are judged and different.
func (f *custodyFile) combine(shares []*shareText) (*secret.Bytes, error) {
	need := f.Shares.Threshold
	if len(shares) < need {
		return nil, &MissingSharesError{Have: len(shares), Need: need}
	}
	var xs []byte
	var values []*secret.Bytes
	for _, share := range shares[:need] {
		xs = append(xs, byte(share.place.index))
		values = append(values, share.value)
	}
	return combine(xs, values), nil
}

// BadShare is one share that can't be used.
type BadShare struct {
	Position  int    // which of those given, from 1
	Index     int    // which of the sharing, from 1; 0 if it can't be told
	Custodian string // the age recipient it was sealed to; "" if it can't be told
	Problem   string // completes a sentence: "is damaged: …"; nothing of the share's content
}

// BadSharesError names every bad share among those given. None was used.
type BadSharesError []BadShare

// Error names the shares in one line.
func (e BadSharesError) Error() string {
	var parts []string
	for _, bad := range e {
		name := fmt.Sprintf("share number %d of those given", bad.Position)
		if bad.Index != 0 {
			name += fmt.Sprintf(" (index %d, custodian %s)", bad.Index, shorten(bad.Custodian))
		}
		parts = append(parts, name+" "+bad.Problem)
	}
	return strings.Join(parts, "; ")
}

// shorten keeps both ends of a recipient: a hybrid one has about 2,000 letters.
func shorten(recipient string) string {
	if len(recipient) <= 64 {
		return recipient
	}
	return recipient[:16] + "…" + recipient[len(recipient)-8:]
}

// MissingSharesError says that the shares given are good, but too few.
type MissingSharesError struct {
	Have, Need int
}

// Error says how many more are needed.
func (e *MissingSharesError) Error() string {
	return fmt.Sprintf("%d more of the root's shares needed (%d given, threshold %d)", e.Need-e.Have, e.Have, e.Need)
}
