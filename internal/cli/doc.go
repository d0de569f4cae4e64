// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of claviger: the only place that knows
// cobra, terminals, the environment and exit codes.
//
// # Adding a verb
//
// A verb is one file with one constructor, `func newKeyCommand(e *env)
// *cobra.Command`, and one line in commands.go. The constructor parses flags,
// calls one function of another package, and hands one value to [env.show].
// When the file passes 150 lines, its logic sits in the wrong package.
//
//   - What was asked for goes to standard output, through [env.show] (a human
//     table, or with --json one object per line) or through [env.create] (bytes
//     that only appear under their final name when they are whole).
//   - All else goes to standard error: [env.warn], [env.next], [env.progress].
//   - A refusal is an error. A verb returns a [Failure] where it knows better
//     than the table in failure.go which exit code or hint fits.
//   - A secret comes from [env.readSecret] or [env.newPassphrase], never from a
//     flag's value, an argument or a variable.
//   - A setting that has a variable is declared with [bindEnv], so that the
//     order flag, variable, profile is the same everywhere and `claviger help
//     environment` lists it.
//
// # What it does not do
//
// No policy, no cryptography, no protocol. Nothing here decides who may do
// what; a check that is made only on the command line is no check at all.
//
// # Threats
//
// Names, reasons and errors that reach a terminal were often written by
// somebody else. Everything printed for people is stripped of control and
// bidirectional-override characters, so that a key's name can't move the
// cursor over the line that would have warned of it. Prompts go to the
// terminal itself, not to standard output, which may be a file or a pipe.
package cli
