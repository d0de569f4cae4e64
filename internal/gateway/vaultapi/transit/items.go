// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"

	"claviger/internal/gateway/vaultapi/call"
)

// item is one use of a key, as a whole request or as one of a batch. Each operation
// looks at what it knows.
type item struct {
	Plaintext  call.Bytes `json:"plaintext"`
	Ciphertext string     `json:"ciphertext"`
	Input      call.Bytes `json:"input"`
	Signature  string     `json:"signature"`
	HMAC       string     `json:"hmac"`
	Associated call.Bytes `json:"associated_data"`
	Context    call.Bytes `json:"context"`
	KeyVersion call.Int   `json:"key_version"`
	Nonce      string     `json:"nonce"`
	Reference  string     `json:"reference"`
}

func (i *item) wipe() {
	i.Plaintext.Wipe()
	i.Input.Wipe()
}

// items is a batch.
type items []*item

var errMany = errors.New("more items than a batch has")

// UnmarshalJSON takes an array of at most maxBatch items, counted first.
func (b *items) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	if text[0] != '[' || count(text) > maxBatch {
		return errMany
	}
	if err := json.Unmarshal(text, (*[]*item)(b)); err != nil {
		return err
	}
	for _, i := range *b {
		if i == nil { // null
			return errMany
		}
	}
	if *b == nil {
		*b = items{}
	}
	return nil
}

// request is the body of every operation that uses a key.
type request struct {
	item
	Batch      items      `json:"batch_input"`
	Type       string     `json:"type"`
	Convergent call.Bool  `json:"convergent_encryption"`
	Partial    call.Int   `json:"partial_failure_response_code"`
	Algorithm  string     `json:"algorithm"`
	Hash       string     `json:"hash_algorithm"`
	Prehashed  call.Bool  `json:"prehashed"`
	Scheme     string     `json:"signature_algorithm"`
	Marshaling string     `json:"marshaling_algorithm"`
	Salt       saltLength `json:"salt_length"`
	Bits       call.Int   `json:"bits"`
}

// saltLength is a number, or a word.
type saltLength string

// UnmarshalJSON takes both.
func (s *saltLength) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, (*string)(s))
	}
	if string(text) == "null" {
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 16)
	*s = saltLength(strconv.FormatUint(n, 10))
	return err
}

// read takes a request's body apart: its items, one for a request without a batch.
func read(c *call.Call) (*request, []*item, error) {
	r := &request{}
	if err := c.Decode(r); err != nil {
		return nil, nil, err
	}
	if r.Convergent.Value {
		return nil, nil, call.Bad("convergent encryption is not supported")
	}
	all := []*item{&r.item}
	if r.Batch != nil {
		if len(r.Batch) == 0 {
			return nil, nil, call.Bad("missing batch input to process")
		}
		all = r.Batch
	}
	for _, i := range all {
		// Security: a nonce used twice gives the key of GCM's authentication away
		// (CVE-2023-4680).
		if i.Nonce != "" {
			return nil, nil, call.Bad("a nonce of the caller's own is not allowed")
		}
		if i.KeyVersion.Value < 0 {
			return nil, nil, call.Bad("cannot use a negative key version")
		}
	}
	return r, all, nil
}

// wipeAll wipes what items hold.
func wipeAll(all []*item) {
	for _, i := range all {
		i.wipe()
	}
}

// result is what became of one item.
type result struct {
	plaintext  []byte // nil: not of this operation
	ciphertext string
	version    uint64
	signature  string
	hmac       string
	valid      *bool
}

// answer writes what became of each item: as they are without a batch, in a batch's
// form otherwise. Failed items have their error.
func (r *request) answer(works []*work, done func(int) result) (*call.Reply, error) {
	if r.Batch == nil {
		if works[0].err != nil {
			return nil, works[0].err
		}
		one := done(0)
		raw := append(one.append(append(make([]byte, 0, one.size()), '{')), '}')
		return &call.Reply{Raw: raw, Secret: one.plaintext != nil}, nil
	}
	results, size := make([]result, len(works)), 64
	for i, w := range works {
		if w.err == nil {
			results[i] = done(i)
		}
		size += results[i].size() + 6*len(r.Batch[i].Reference)
	}
	// Made at once: a slice that grows leaves copies of plaintexts behind.
	raw, secretive := append(make([]byte, 0, size), `{"batch_results":[`...), false
	for i, w := range works {
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = append(raw, '{')
		if w.err != nil {
			raw = appendText(append(raw, `"error":`...), w.err.Error())
		} else {
			secretive = secretive || results[i].plaintext != nil
			raw = results[i].append(raw)
		}
		raw = appendText(append(raw, `,"reference":`...), r.Batch[i].Reference)
		raw = append(raw, '}')
	}
	return &call.Reply{Status: partial(r.Partial, works), Raw: append(raw, ']', '}'), Secret: secretive}, nil
}

// size is more than a result, or an error in its place, takes.
func (r result) size() int {
	const around = 512 // names, numbers, and the longest error
	return around + base64.StdEncoding.EncodedLen(len(r.plaintext)) + len(r.ciphertext) + len(r.signature) + len(r.hmac)
}

// append writes the members of a result.
func (r result) append(out []byte) []byte {
	if r.plaintext != nil {
		out = append(out, `"plaintext":"`...)
		out = append(base64.StdEncoding.AppendEncode(out, r.plaintext), '"', ',')
	}
	if r.ciphertext != "" {
		out = append(appendText(append(out, `"ciphertext":`...), r.ciphertext), ',')
	}
	if r.version != 0 {
		out = append(strconv.AppendUint(append(out, `"key_version":`...), r.version, 10), ',')
	}
	if r.signature != "" {
		out = append(appendText(append(out, `"signature":`...), r.signature), ',')
	}
	if r.hmac != "" {
		out = append(appendText(append(out, `"hmac":`...), r.hmac), ',')
	}
	if r.valid != nil {
		out = append(strconv.AppendBool(append(out, `"valid":`...), *r.valid), ',')
	}
	return out[:len(out)-1]
}

func appendText(out []byte, s string) []byte {
	text, _ := json.Marshal(s) // strings always encode
	return append(out, text...)
}
