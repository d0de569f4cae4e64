// SPDX-License-Identifier: Apache-2.0

// Package disk is what the audit log asks of a file system, and the operating
// system's answer to it.
//
//   - [FS] and [File] are the questions; [OS] answers them with real files, and
//     testkit/faultfs with files that fail and forget.
//   - [ReadFile] and [WriteFile] are for small files, read whole and replaced so
//     that the old or the new content is there, whatever happens.
//
// A sync returns when content and size are durable; times needn't be. The package
// knows no formats, and decides nothing about what a failure means: see audit.
package disk
