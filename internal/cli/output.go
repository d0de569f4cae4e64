// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// schemaVersion is the "schema" of every --json object. Fields may be added
// under it; a field that changes its meaning or goes away needs the next one.
const schemaVersion = 1

// result is what a verb shows: its exported fields, in order, are the --json
// object, and human writes the same facts for people.
type result interface {
	human(p *printer)
}

// show writes r to standard output. With --json that is one line holding one
// object whose first member is "schema". A write that fails (a full disk, a
// closed pipe) is an error: output that did not arrive was not given.
func (e *env) show(r result) error {
	if e.json {
		line, err := encodeResult(r)
		if err != nil {
			return err
		}
		_, err = e.Out.Write(line)
		return wrapWrite(err)
	}
	p := &printer{}
	r.human(p)
	_, err := e.Out.Write(p.buf.Bytes())
	return wrapWrite(err)
}

func wrapWrite(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write standard output: %w", err)
}

// encodeResult renders r as {"schema":1,…} and a line feed.
func encodeResult(r any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(buf.Bytes(), &members) != nil || members == nil {
		return nil, errors.New("encode result: not a JSON object")
	}
	if _, taken := members["schema"]; taken {
		return nil, errors.New(`encode result: a result must not have a field "schema"`)
	}
	head := fmt.Sprintf(`{"schema":%d`, schemaVersion)
	if len(members) > 0 {
		head += ","
	}
	return append([]byte(head), buf.Bytes()[1:]...), nil
}

// aside writes for people, on standard error, what is not the result.
func (e *env) aside(write func(*printer)) {
	p := &printer{}
	write(p)
	e.Err.Write(p.buf.Bytes())
}

// jsonString quotes s as JSON.
func jsonString(s string) []byte {
	out, _ := json.Marshal(s) // a string always encodes
	return out
}

// printer collects what a person reads. Everything it is given is cleaned, so
// callers pass names as they are.
type printer struct{ buf bytes.Buffer }

// line writes one formatted line. Line feeds in what is formatted stay.
func (p *printer) line(format string, args ...any) {
	p.buf.WriteString(clean(fmt.Sprintf(format, args...)))
	p.buf.WriteByte('\n')
}

// table writes rows under headers, columns aligned by two blanks. An empty
// cell shows as "-", so that columns can be counted.
func (p *printer) table(headers []string, rows [][]string) {
	w := tabwriter.NewWriter(&p.buf, 0, 0, 2, ' ', 0)
	row(w, headers)
	for _, r := range rows {
		row(w, r)
	}
	w.Flush() // into memory: it can't fail
}

// pairs writes "name  value" lines, aligned; names and values alternate.
func (p *printer) pairs(namesAndValues ...string) {
	w := tabwriter.NewWriter(&p.buf, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		row(w, namesAndValues[i:i+2])
	}
	w.Flush()
}

func row(w io.Writer, cells []string) {
	out := make([]string, len(cells))
	for i, c := range cells {
		if out[i] = oneLine(c); out[i] == "" {
			out[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(out, "\t"))
}
