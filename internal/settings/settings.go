// SPDX-License-Identifier: Apache-2.0

// Package settings reads configuration files: TOML 1.0, strictly.
//
// A setting that nobody asks for is refused with its line: misspelt, it would
// leave another one at its default without a word. So is one that is given twice,
// and one of another type. Structs with toml tags say what there is; what the
// values mean is checked by who declares the struct.
//
//   - [Decode] reads a file's text into such a struct.
//   - [Write] writes one setting, for programs that make a first file.
//
// It deliberately reads no files and no environment: callers bound and read.
package settings

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// Schema is the value of the setting that every file has, schema. Another one
// means another program.
const Schema = 1

// Bounds of a configuration file. That of a line is there because the decoder
// takes time with the square of how many names with dots between stand in one.
const (
	MaxSize = 16 << 10
	maxLine = 2 << 10
)

// lineError says what is wrong on which line. It never repeats a value.
func lineError(line int, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", line, fmt.Sprintf(format, args...))
}

// Decode reads the text of a configuration file into the struct that v
// points to, whose tags name every setting there is. One of them is schema.
func Decode(text string, v any) error {
	if !utf8.ValidString(text) || len(text) > MaxSize {
		return fmt.Errorf("it is not UTF-8 text of at most %d bytes", MaxSize)
	}
	for i, line := range strings.Split(text, "\n") {
		if len(line) > maxLine {
			return lineError(i+1, "it is longer than %d bytes", maxLine)
		}
	}
	var tree map[string]toml.Primitive
	doc, err := toml.Decode(text, &tree)
	if err != nil {
		return asLine(err)
	}
	if err := knownSchema(doc, tree); err != nil { // first: in another schema the rest may mean something else
		return err
	}
	found, err := toml.Decode(text, v)
	if err != nil {
		return asLine(err)
	}
	unknown := map[string]bool{}
	for _, key := range found.Undecoded() {
		unknown[key.String()] = true
	}
	for _, key := range found.Keys() {
		if unknown[key.String()] || !plainKey(key) {
			return lineError(lineOf(doc, tree, key), "unknown key %q", key)
		}
	}
	return nil
}

// plainKey reports whether a key is spelt as ours are. The decoder alone would
// take "Listen" for listen, and so two values for one setting.
func plainKey(key toml.Key) bool {
	return strings.Trim(strings.Join(key, ""), "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// knownSchema refuses the file of another schema.
func knownSchema(doc toml.MetaData, tree map[string]toml.Primitive) error {
	value, ok := tree["schema"]
	if !ok {
		return errors.New("schema is missing")
	}
	var schema int
	if err := doc.PrimitiveDecode(value, &schema); err != nil {
		return asLine(err)
	}
	if schema != Schema {
		return lineError(lineOf(doc, tree, toml.Key{"schema"}), "it has schema %d; this program knows %d", schema, Schema)
	}
	return nil
}

// lineOf finds the line of a key. The decoder tells lines with errors only, so
// it is given a reason for one.
func lineOf(doc toml.MetaData, tree map[string]toml.Primitive, key toml.Key) int {
	value := tree[key[0]]
	var table map[string]toml.Primitive
	if len(key) > 1 && doc.PrimitiveDecode(value, &table) == nil {
		return lineOf(doc, table, key[1:])
	}
	e, _ := errors.AsType[toml.ParseError](doc.PrimitiveDecode(value, nowhere{}))
	return e.Position.Line
}

// nowhere takes no value.
type nowhere struct{}

var errNowhere = errors.New("no value is taken here")

// UnmarshalTOML refuses.
func (nowhere) UnmarshalTOML(any) error { return errNowhere }

// asLine words an error of the decoder as ours are.
func asLine(err error) error {
	if e, ok := errors.AsType[toml.ParseError](err); ok {
		if rest, ok := strings.CutPrefix(e.Message, "Key "); ok {
			e.Message = "key " + rest
		}
		return lineError(e.Position.Line, "%s", e.Message)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "toml: "))
}

// Write writes one "name = value". It panics on a value that is neither text,
// number, truth nor a list of those.
func Write(b *bytes.Buffer, name string, value any) {
	if err := toml.NewEncoder(b).Encode(map[string]any{name: value}); err != nil {
		panic("settings: a setting that is neither text, number nor truth: " + err.Error())
	}
}
