// SPDX-License-Identifier: Apache-2.0

// Package arch holds the architecture tests and nothing else: it exports
// nothing, and no program links it.
//
// Each rule of the house that a machine can check is one function here with an
// example that breaks it, so that a rule that no longer bites fails by itself:
//
//   - layers_test.go: which package may import which, as a table. A new package
//     needs a row; choosing it is a decision about the design, not a formality.
//   - rules_test.go, docs_test.go, sizes_test.go: what a file may not do,
//     documentation, sizes.
//   - vars_test.go: package variables that somebody changes.
//
// What a rule forbids with a reason that does not hold in one place is allowed
// there by name, in the rule's own table, never by a comment in the code.
package arch
