// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestMainAnswersWrongLines(t *testing.T) {
	cases := []struct {
		line    string
		code    ExitCode
		message string
	}{
		{"", ExitOK, ""},
		{"--help", ExitOK, ""},
		{"help", ExitOK, ""},
		{"help exit-codes", ExitOK, ""},
		{"version", ExitOK, ""},
		{"bogus", ExitUsage, `unknown command "bogus" for claviger`},
		{"versoin", ExitUsage, "did you mean claviger version?"},
		{"version extra", ExitUsage, "extra"},
		{"--bogus", ExitUsage, "unknown flag: --bogus"},
		{"help bogus", ExitUsage, `there is no help on "bogus"`},
		{"help version extra", ExitUsage, "there is no help"},
		{"completion", ExitUsage, "wrong number of arguments; it is claviger completion "},
		{"completion csh", ExitUsage, `invalid argument "csh"`},
		{"gen-man", ExitUsage, "wrong number of arguments; it is claviger gen-man DIR"},
	}
	for _, c := range cases {
		t.Run(c.line, func(t *testing.T) {
			s := &session{}
			want(t, "exit status", s.run(t, strings.Fields(c.line)...), int(c.code))
			if c.code == ExitOK {
				want(t, "standard error", s.err.String(), "")
				if s.out.Len() == 0 {
					t.Error("nothing on standard output")
				}
				return
			}
			want(t, "standard output", s.out.String(), "")
			wantIn(t, "standard error", s.err.String(), c.message)
			if !strings.HasPrefix(s.err.String(), "error: ") || strings.Count(s.err.String(), "\n") > 2 {
				t.Errorf("not an error line and a hint line:\n%s", s.err.String())
			}
		})
	}
}

func TestErrorsAsJSON(t *testing.T) {
	for _, line := range []string{"--json bogus", "bogus --json", "version --bogus --json=true", "--json help bogus"} {
		s := &session{}
		want(t, "exit status", s.run(t, strings.Fields(line)...), int(ExitUsage))
		var got errorJSON
		if err := json.Unmarshal(s.err.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v in %q", line, err, s.err.String())
		}
		want(t, "schema", got.Schema, 1)
		want(t, "code", got.Error.Code, ExitUsage)
		want(t, "name", got.Error.Name, "usage")
		if got.Error.Message == "" || got.Error.Hint == "" {
			t.Errorf("%s: message or hint is missing: %s", line, s.err.String())
		}
	}
	for _, line := range []string{"bogus -- --json", "bogus --json=false", "bogus --json=maybe"} {
		s := &session{}
		s.run(t, strings.Fields(line)...)
		if !strings.HasPrefix(s.err.String(), "error: ") {
			t.Errorf("%s: JSON that nobody asked for: %s", line, s.err.String())
		}
	}
}

func TestMainWithoutArguments(t *testing.T) {
	s := &session{}
	want(t, "exit status", Main(t.Context(), nil, s.streams()), 0)
	wantIn(t, "help", s.out.String(), "Usage:")
}

func TestOutputThatDoesNotArriveIsAFailure(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"version", "--json"}, {"completion", "bash"}} {
		s := &session{}
		st := s.streams()
		st.Out = fullDisk{}
		want(t, strings.Join(args, " "), Main(t.Context(), args, st), int(ExitFailure))
		wantIn(t, "message", s.err.String(), "write standard output: no space left")
	}
}

// group is a tree with a group in it, whatever verbs the product has by now.
func group(e *env) *cobra.Command {
	root := newRoot(e)
	g := &cobra.Command{Use: "thing", Short: "Things"}
	g.AddCommand(&cobra.Command{Use: "create", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return nil }})
	root.AddCommand(g)
	prepare(g)
	return root
}

func TestGroupWithoutVerbIsAUsageFailure(t *testing.T) {
	cases := map[string]string{
		"thing":        "claviger thing needs a command",
		"thing bogus":  `unknown command "bogus" for claviger thing`,
		"thing creat":  "claviger thing create",
		"thing create": "",
	}
	for line, message := range cases {
		s := &session{}
		e := s.env()
		root := group(e)
		root.SetArgs(strings.Fields(line))
		code := e.report(root.ExecuteContext(t.Context()))
		want(t, line, code, map[bool]int{true: 0, false: 2}[message == ""])
		wantIn(t, line, s.err.String(), message)
	}
}

func TestVariablesSetFlags(t *testing.T) {
	cases := []struct {
		name, line, variable, want string
		code                       int
	}{
		{"neither", "go", "", "default", 0},
		{"variable", "go", "seven", "seven", 0},
		{"flag goes first", "go --word eight", "seven", "eight", 0},
		{"flag goes first even when empty", "go --word=", "seven", "", 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := &session{vars: map[string]string{"CLAVIGER_WORD": c.variable}}
			e := s.env()
			var got string
			root := newRoot(e)
			sub := &cobra.Command{Use: "go", RunE: func(*cobra.Command, []string) error { return nil }}
			sub.Flags().StringVar(&got, "word", "default", "a word")
			bindEnv(sub.Flags(), "word", "CLAVIGER_WORD")
			root.AddCommand(sub)
			root.SetArgs(strings.Fields(c.line))
			want(t, "exit status", e.report(root.ExecuteContext(t.Context())), c.code)
			want(t, "value", got, c.want)
		})
	}
}

func TestVariableThatTheFlagRefuses(t *testing.T) {
	s := &session{vars: map[string]string{"CLAVIGER_COUNT": "hush-hush"}}
	e := s.env()
	root := newRoot(e)
	sub := &cobra.Command{Use: "go", RunE: func(*cobra.Command, []string) error { return nil }}
	sub.Flags().Int("count", 1, "a number")
	bindEnv(sub.Flags(), "count", "CLAVIGER_COUNT")
	root.AddCommand(sub)
	root.SetArgs([]string{"go"})
	want(t, "exit status", e.report(root.ExecuteContext(t.Context())), int(ExitUsage))
	wantIn(t, "message", s.err.String(), "CLAVIGER_COUNT")
	if strings.Contains(s.err.String(), "hush") {
		t.Errorf("the value of a variable is repeated: %s", s.err.String())
	}
}

func TestInterruptedCommandFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &session{}
	e := s.env()
	want(t, "exit status", e.report(ctx.Err()), int(ExitFailure))
	wantIn(t, "message", s.err.String(), "error: context canceled\nhint: ")
}

// walk visits every command of the product's tree.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, visit)
	}
}

func TestEveryCommandHasManners(t *testing.T) {
	walk(newRoot((&session{}).env()), func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the short text must be there and end without a full stop: %q", path, cmd.Short)
		}
		if cmd.Runnable() && !cmd.HasSubCommands() {
			if !strings.Contains(cmd.Example, "claviger ") {
				t.Errorf("%s: --help shows no example", path)
			}
			if cmd.RunE == nil {
				t.Errorf("%s: Run can't report an error, use RunE", path)
			}
		}
		for i, line := range strings.Split(cmd.Example, "\n") {
			if cmd.Example != "" && !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: line %d of the example is not indented by two blanks", path, i+1)
			}
		}
	})
}

// takesSecret guesses from a flag's name whether its value would be a secret.
// What ends in file, fd and so on says something about one instead.
func takesSecret(f *pflag.Flag) bool {
	parts := strings.Split(f.Name, "-")
	if slices.Contains([]string{"file", "fd", "ttl", "id", "name"}, parts[len(parts)-1]) || strings.Contains(strings.ToLower(f.Usage), "file") {
		return false
	}
	return f.Value.Type() == "string" && slices.ContainsFunc(parts, func(part string) bool {
		return slices.Contains([]string{"pass", "passphrase", "password", "secret", "pin", "seed", "token", "share", "private"}, part)
	})
}

// A secret in a flag is seen by every process of the machine and kept by the
// shell's history.
func TestNoFlagTakesASecret(t *testing.T) {
	walk(newRoot((&session{}).env()), func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if takesSecret(f) {
				t.Errorf("%s: --%s looks as if it took a secret; take a file or a descriptor", cmd.CommandPath(), f.Name)
			}
		})
	})
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.String("hsm-pin", "", "the PIN")
	flags.String("passphrase-file", "", "where it lies")
	flags.String("share", "", "file that holds a share")
	for name, bad := range map[string]bool{"hsm-pin": true, "passphrase-file": false, "share": false} {
		want(t, name, takesSecret(flags.Lookup(name)), bad)
	}
}

func TestVariablesHaveSafeNames(t *testing.T) {
	for name, flag := range variables(newRoot((&session{}).env())) {
		if !strings.HasPrefix(name, "CLAVIGER_") || strings.HasPrefix(name, "CLAVIGER_PORT") || strings.HasPrefix(name, "CLAVIGER_SERVICE_") {
			t.Errorf("--%s: the variable %s has a name that isn't ours or that Kubernetes sets", flag, name)
		}
	}
}

func TestHelpTopics(t *testing.T) {
	s := &session{}
	want(t, "exit status", s.run(t, "help", "environment"), 0)
	for _, v := range []string{"CLAVIGER_PROFILE", "NO_COLOR", "CREDENTIALS_DIRECTORY"} {
		wantIn(t, "environment", s.out.String(), v)
	}
	s = &session{}
	want(t, "exit status", s.run(t, "help", "exit-codes"), 0)
	for _, row := range exitCodes {
		wantIn(t, "exit codes", s.out.String(), row.name)
	}
}

func TestCompletionScripts(t *testing.T) {
	for shell, part := range map[string]string{
		"bash": "__start_claviger", "zsh": "#compdef claviger", "fish": "complete -c claviger", "powershell": "Register-ArgumentCompleter",
	} {
		s := &session{}
		want(t, shell, s.run(t, "completion", shell), 0)
		wantIn(t, shell, s.out.String(), part)
	}
}

func TestVersionSaysTheToolchain(t *testing.T) {
	s := &session{}
	want(t, "exit status", s.run(t, "version", "--json"), 0)
	var got struct {
		Schema           int
		Version, Go, OS  string
		FIPS             *bool
		Arch, Commit     string
		Modified, Absent bool
	}
	if err := json.Unmarshal(s.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want(t, "schema", got.Schema, 1)
	if !strings.HasPrefix(got.Go, "go1.") || got.OS == "" || got.Arch == "" || got.Version == "" || got.FIPS == nil {
		t.Errorf("version --json lacks something: %s", s.out.String())
	}
}
