// SPDX-License-Identifier: Apache-2.0

// Package strictjson reads JSON files that a person may have edited, and takes
// nothing that two readers could understand in two ways.
//
// [Decode] fills a struct and refuses unknown members; [Check] is for who wants
// a part of a file and leaves the rest to somebody else. [DecodeForeign] and
// [CheckForeign] are the same for messages of others, who name members as they
// like, and for what comes from strangers. All refuse what
// encoding/json lets pass: a member that is given twice (it takes the last one),
// one in another case ("Demo" for "demo"), and anything after the value.
//
// The files are small: callers bound their size before they read.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth bounds how deep values nest.
const maxDepth = 16

// plain are the characters of a member's name.
const plain = "abcdefghijklmnopqrstuvwxyz0123456789_"

var (
	errTwice = errors.New("a member is given twice")
	errName  = errors.New("a member's name has other characters than a-z, 0-9 and _")
	errDeep  = errors.New("it nests too deep")
	errMore  = errors.New("something follows the end")
)

// Decode reads data, one JSON value, into v as encoding/json does, and refuses a
// member that v has no field for.
func Decode(data []byte, v any) error {
	if err := Check(data); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// Check reports whether data is one JSON value whose objects have each member
// once. Members' names are of a-z, 0-9 and _, so no two of them are one to a
// reader that ignores case.
func Check(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := value(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errMore
	}
	return nil
}

// value reads one value at a depth.
func value(d *json.Decoder, depth int) error {
	token, err := d.Token()
	if err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return errDeep
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			if err := member(d, seen); err != nil {
				return err
			}
		}
		if err := value(d, depth+1); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	return nil
}

// member reads the name of a member.
func member(d *json.Decoder, seen map[string]bool) error {
	token, err := d.Token()
	if err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	name, _ := token.(string) // in an object the decoder takes nothing else here
	switch {
	case seen[name]:
		return errTwice
	case strings.Trim(name, plain) != "":
		return errName
	}
	seen[name] = true
	return nil
}
