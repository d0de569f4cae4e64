// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// env is what every verb gets: the streams and the settings that are the same
// for all of them. It is filled before a verb's RunE starts.
type env struct {
	Streams
	json    bool   // --json: one object per line instead of text for people
	profile string // --profile: name of the profile; empty is the default one
}

// envAnnotation marks a flag that an environment variable sets.
const envAnnotation = "claviger_env"

// bindEnv lets a variable set a flag that the command line leaves out. Names
// begin with CLAVIGER_, and not with CLAVIGER_PORT or CLAVIGER_SERVICE_:
// Kubernetes sets those for a Service called "claviger".
func bindEnv(flags *pflag.FlagSet, flag, variable string) {
	if err := flags.SetAnnotation(flag, envAnnotation, []string{variable}); err != nil {
		panic("cli: bindEnv of a flag that is not there: " + err.Error())
	}
	f := flags.Lookup(flag)
	f.Usage += " (or " + variable + ")"
}

// envOf returns the variable that sets f, or "".
func envOf(f *pflag.Flag) string {
	if v := f.Annotations[envAnnotation]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// applyEnv sets the flags of cmd that the command line left out from their
// variables. A value that the flag refuses is a usage failure that names the
// variable, not the value.
func (e *env) applyEnv(cmd *cobra.Command) error {
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := envOf(f)
		if name == "" || f.Changed || failed != nil {
			return
		}
		value := e.getenv(name)
		if value == "" {
			return
		}
		if cmd.Flags().Set(f.Name, value) != nil {
			failed = usagef("the variable %s is not a valid value of --%s", name, f.Name).
				withHint("unset %s, or see %s --help", name, cmd.CommandPath())
		}
	})
	return failed
}

// warn tells people, on standard error, of something that did not stop the
// command.
func (e *env) warn(format string, args ...any) { e.tell("warning", format, args...) }

// next names the command that usually follows; it is advice for people, so
// --json leaves it out.
func (e *env) next(format string, args ...any) {
	if !e.json {
		e.tell("next", format, args...)
	}
}

func (e *env) tell(name, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if e.json {
		fmt.Fprintf(e.Err, `{"schema":%d,%q:{"message":%s}}`+"\n", schemaVersion, name, jsonString(text))
		return
	}
	e.label(e.Err, name, text)
}

// wantsJSON finds --json in a command line that could not be parsed, so that
// even the complaint about it has the shape that was asked for.
func wantsJSON(args []string) bool {
	for _, a := range args {
		switch {
		case a == "--":
			return false
		case a == "--json":
			return true
		case len(a) > 7 && a[:7] == "--json=":
			on, err := strconv.ParseBool(a[7:])
			return err == nil && on
		}
	}
	return false
}
