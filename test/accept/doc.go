// SPDX-License-Identifier: Apache-2.0

// Package accept holds Claviger to what its users were promised, through the
// program itself: it is built once, and each test drives it as people do, as
// processes with streams, files, terminals and exit statuses. Nothing is
// replaced and no package of the product is imported.
//
// What one process can show is tested elsewhere and faster: command lines in
// test/script, attacks on protocols in test/scenario. Here stands what needs
// several users, signals, terminals, full disks, other programs (age, openssl)
// or a process's own memory.
//
// The commands of docs/quorum.md and of the first run in docs/cli.md are read
// from those pages and run.
//
// The sizes of the streams are set by -bytes:
//
//	go test ./test/accept -run TestStreamsNeedLittleMemory -bytes 10737418240
package accept
