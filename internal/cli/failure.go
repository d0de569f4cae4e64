// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"claviger/client"
	"claviger/envelope"
	"claviger/internal/demo"
	"claviger/internal/root"
	"claviger/internal/store"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// ExitCode is the exit status of every claviger program. The numbers are a
// contract with scripts: a row may be added, none may change its meaning.
type ExitCode int

// The exit codes; `claviger help exit-codes` prints them with their meaning.
const (
	ExitOK        ExitCode = 0
	ExitFailure   ExitCode = 1
	ExitUsage     ExitCode = 2
	ExitNotFound  ExitCode = 3
	ExitDenied    ExitCode = 4
	ExitPending   ExitCode = 5
	ExitIntegrity ExitCode = 6
)

// exitCodes is the published list: number, name in --json, meaning.
var exitCodes = [...]struct {
	code    ExitCode
	name    string
	meaning string
}{
	{ExitOK, "ok", "It was done."},
	{ExitFailure, "failure", "It was not done, for a reason that has no code of its own."},
	{ExitUsage, "usage", "The command line can't be right: an unknown flag, a missing argument."},
	{ExitNotFound, "not-found", "What was named does not exist, or is not visible to the caller."},
	{ExitDenied, "denied", "Policy, a server or a missing credential said no."},
	{ExitPending, "pending", "It waits for the signatures of other people."},
	{ExitIntegrity, "integrity", "A check of integrity failed: something was changed, forged or rolled back."},
}

// String returns the code's name as --json shows it.
func (c ExitCode) String() string {
	for _, row := range exitCodes {
		if row.code == c {
			return row.name
		}
	}
	return fmt.Sprintf("exit-%d", int(c))
}

// Failure is an error with what a person and a script need to act on it.
type Failure struct {
	Code    ExitCode // never ExitOK
	Message string   // one line, lower case, no full stop; no secret
	Hint    string   // the next step, one line; empty when there is none
	Err     error    // the cause, for errors.Is; its text is not printed
}

// Error returns the message.
func (f *Failure) Error() string { return f.Message }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// usagef says that the command line itself is wrong.
func usagef(format string, args ...any) *Failure {
	return &Failure{Code: ExitUsage, Message: fmt.Sprintf(format, args...)}
}

// withHint returns f with a next step.
func (f *Failure) withHint(format string, args ...any) *Failure {
	f.Hint = fmt.Sprintf(format, args...)
	return f
}

// outcome says how an error that other packages branch on leaves the program.
type outcome struct {
	err  error
	code ExitCode
	hint string
}

// outcomes maps the sentinel errors of other packages to exit codes. The first
// row that matches stands; what no row matches is ExitFailure.
func outcomes() []outcome {
	return []outcome{
		{err: context.Canceled, code: ExitFailure, hint: "it was interrupted; nothing half-done was left under its final name"},
		{err: errNobody, code: ExitFailure, hint: "name a file that holds the passphrase: --passphrase-file FILE (--help lists all ways)"},
		{err: fs.ErrNotExist, code: ExitNotFound},
		{err: fs.ErrPermission, code: ExitFailure, hint: "see whose it is; whoever uses a profile has to be able to write to it"},
		{err: store.ErrNotFound, code: ExitNotFound},
		{err: root.ErrWrongPassphrase, code: ExitDenied},
		{err: root.ErrWrongKey, code: ExitDenied},
		{err: root.ErrDamaged, code: ExitIntegrity, hint: "restore the custody file from a backup; nothing was written"},
		{err: client.ErrRollback, code: ExitIntegrity, hint: "a server shows an older state than this profile has seen; tell an admin and keep the profile"},
		{err: client.ErrFork, code: ExitIntegrity, hint: "the proof is in the profile's proofs directory; tell an admin"},
		{err: client.ErrIntegrity, code: ExitIntegrity, hint: "a server, or somebody on the way, sent what no honest one sends; tell an admin"},
		{err: client.ErrUnexpectedKey, code: ExitIntegrity, hint: "claviger inspect shows which key it names; name that with --key only if it belongs here"},
		{err: client.ErrCompromised, code: ExitIntegrity, hint: "--allow-compromised opens it all the same"},
		{err: client.ErrStale, code: ExitFailure, hint: "no server could be reached for longer than the key permits"},
		{err: client.ErrInvite, code: ExitDenied, hint: "an admin can make another: claviger client invite NAME"},
		{err: client.ErrNotFound, code: ExitNotFound},
		{err: client.ErrDemo, code: ExitDenied, hint: hintDemo},
		{err: client.ErrExists, code: ExitUsage, hint: "name another with --profile"},
		{err: client.ErrUnavailable, code: ExitFailure, hint: "see whether the server runs, and whether claviger profile list shows its address"},
		{err: envelope.ErrNoKey, code: ExitDenied},
		{err: envelope.ErrIntegrity, code: ExitIntegrity, hint: "--context and --partition have to be those of the encryption"},
		{err: envelope.ErrVersion, code: ExitIntegrity, hint: "if it was not changed, a newer claviger wrote it and may read it"},
		{err: envelope.ErrFormat, code: ExitIntegrity}, // one flipped bit of the magic looks like this
		{err: wire.ErrMalformed, code: ExitIntegrity},
		{err: wire.ErrSignature, code: ExitIntegrity},
		{err: wire.ErrSealed, code: ExitIntegrity},
	}
}

// asFailure gives every error a code. A Failure anywhere in the chain keeps
// its code and hint; the text stays that of the outermost error.
func asFailure(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return &Failure{Code: f.Code, Message: err.Error(), Hint: f.Hint, Err: err}
	}
	if d, ok := errors.AsType[*client.DeniedError](err); ok {
		return denied(d, err)
	}
	if said, ok := errors.AsType[*transport.Error](err); ok && said.Code == "sealed" {
		return &Failure{Code: ExitFailure, Message: err.Error(), Hint: hintSealed, Err: err}
	}
	if d, ok := errors.AsType[*demo.CommandError](err); ok {
		return &Failure{Code: ExitFailure, Message: err.Error(), Hint: d.Hint, Err: err}
	}
	for _, o := range append(adminOutcomes(), outcomes()...) {
		if errors.Is(err, o.err) {
			return &Failure{Code: o.code, Message: err.Error(), Hint: o.hint, Err: err}
		}
	}
	return &Failure{Code: ExitFailure, Message: err.Error(), Err: err}
}

// denied says who may not do what, why, and what would change that.
func denied(d *client.DeniedError, err error) *Failure {
	who, what := d.Client, d.Operation
	if _, name, ok := strings.Cut(d.Client, "/workload/"); ok {
		who = name // as policies and admins' commands call it
	}
	if d.Key != "" {
		what += " with " + d.Key
	}
	f := &Failure{Code: ExitDenied, Message: fmt.Sprintf("%s may not %s (%s)", who, what, d.Reason), Err: err}
	switch d.Reason {
	case "no policy allows it":
		f.Hint = fmt.Sprintf("an admin can run: claviger policy allow %s %s", who, d.Key)
	case "the key is disabled":
		f.Hint = "an admin can run: claviger enable " + d.Key
	case "the client is revoked":
		f.Hint = "an admin can run: claviger enable " + who
	}
	return f
}

// errorJSON is the documented shape of an error on standard error.
type errorJSON struct {
	Schema int       `json:"schema"`
	Error  errorBody `json:"error"`
}

type errorBody struct {
	Code    ExitCode `json:"code"`
	Name    string   `json:"name"`
	Message string   `json:"message"`
	Hint    string   `json:"hint,omitempty"`
}

// report prints err as the contract says and returns the exit status.
func (e *env) report(err error) int {
	if err == nil {
		return int(ExitOK)
	}
	f := asFailure(err)
	if e.json {
		line, _ := json.Marshal(errorJSON{schemaVersion, errorBody{f.Code, f.Code.String(), f.Message, f.Hint}}) // strings and ints always encode
		fmt.Fprintf(e.Err, "%s\n", line)
		return int(f.Code)
	}
	e.label(e.Err, "error", f.Message)
	if f.Hint != "" {
		e.label(e.Err, "hint", f.Hint)
	}
	return int(f.Code)
}

// label writes "name: text" as one line. Standard error is the last resort: a
// failure to write there has nowhere to be reported.
func (e *env) label(w io.Writer, name, text string) {
	fmt.Fprintf(w, "%s %s\n", e.paint(name), oneLine(text))
}
