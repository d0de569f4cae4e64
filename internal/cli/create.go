// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"

	"claviger/internal/cli/outfile"
)

type (
	outputOptions = outfile.Options
	outputFile    = outfile.File
)

// create opens the output. The caller defers Abort and ends with Commit:
//
//	out, err := e.create(outputOptions{Path: path, Inputs: []string{in}, Binary: true})
//	if err != nil { return err }
//	defer out.Abort()
//	… write …
//	return out.Commit()
func (e *env) create(o outputOptions) (*outputFile, error) {
	out, err := o.Create(e.Out, e.OutTTY)
	if m, ok := errors.AsType[*outfile.Misuse](err); ok {
		f := usagef("%s", m.Message)
		if m.Hint != "" {
			f = f.withHint("%s", m.Hint)
		}
		return nil, f
	}
	return out, err
}

func wrapOutput(verb string, err error) error { return outfile.Wrap(verb, err) }
