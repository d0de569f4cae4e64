// SPDX-License-Identifier: Apache-2.0

// Package outfile writes what a command makes so that whoever finds a file's name
// finds all of it: to a file beside it first, then by a rename. [Options.Create]
// opens the output, [File.Commit] gives it its name, [File.Abort] throws it away;
// [Write] does all that with bytes that are there already.
//
// It knows no command line: what a user asked for that can't be is a [Misuse].
package outfile

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Misuse is an output that makes no sense: the user has to name another.
type Misuse struct{ Message, Hint string }

// Error gives the message.
func (m *Misuse) Error() string { return m.Message }

// Options say where bytes that a command makes should go.
type Options struct {
	Path   string      // a file; "" or "-" is standard output
	Inputs []string    // files that are being read; none may be the output
	Binary bool        // not text: never to a terminal
	Mode   fs.FileMode // of a new file, under the umask; 0 is 0600. A file that is replaced keeps its own
	// Remakeable says that the command can be run again. Then a new file isn't
	// synced, and a power cut may take it, as after cp. One that replaces another is.
	Remakeable bool
}

// File is a file in the making. It has another name in the same
// directory until Commit: whoever finds the final name finds all of it, and a
// command that fails or is killed leaves the old content as it was. Not safe
// for concurrent use, except WriteAt at different offsets.
type File struct {
	w      io.Writer
	file   *os.File // nil when w is standard output
	target string   // where Commit moves it; "" when it is written in place
	mode   fs.FileMode
	sync   bool // before it gets its name
	done   bool
}

// Create opens the output. The caller defers Abort and ends with Commit. Stdout
// is standard output, and whether that is a terminal.
func (o Options) Create(stdout io.Writer, terminal bool) (*File, error) {
	if o.Path == "" || o.Path == "-" {
		if o.Binary && terminal {
			return nil, &Misuse{"the output is binary and standard output is a terminal", "name a file with -o, or pipe the output into a program"}
		}
		return &File{w: stdout}, nil
	}
	path, info, err := resolveOutput(o.Path)
	if err != nil {
		return nil, err
	}
	if info == nil {
		out, err := createBeside(path, o.Mode, 0)
		if err == nil {
			out.sync = !o.Remakeable
		}
		return out, err
	}
	for _, in := range o.Inputs {
		if st, err := os.Stat(in); err == nil && os.SameFile(st, info) {
			return nil, &Misuse{"input and output are the same file: " + o.Path, "name another file with -o"}
		}
	}
	switch {
	case info.IsDir():
		return nil, &Misuse{Message: "the output is a directory: " + o.Path}
	case !info.Mode().IsRegular(): // /dev/null, a FIFO: nothing to rename over
		return openInPlace(path)
	}
	return createBeside(path, o.Mode, info.Mode().Perm())
}

// resolveOutput follows symbolic links, so that the file they name is replaced
// and not the link. info is nil when there is no such file yet.
func resolveOutput(path string) (string, fs.FileInfo, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("open output: %w", err)
	}
	return path, info, nil
}

func openInPlace(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open output: %w", err)
	}
	return &File{w: f, file: f}, nil
}

// createBeside makes the temporary file; keep is the mode of the file that
// Commit will replace, 0 when there is none. Until then nobody but the owner
// can read it, or, for a new file, whoever mode and umask let.
func createBeside(path string, mode, keep fs.FileMode) (*File, error) {
	if mode == 0 || keep != 0 {
		mode = 0o600
	}
	var tag [8]byte
	rand.Read(tag[:])
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+hex.EncodeToString(tag[:])+".part")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		e.Path = path // the other name means nothing to anybody
	}
	if err != nil {
		return nil, fmt.Errorf("create output: %w", err)
	}
	return &File{w: f, file: f, target: path, mode: keep, sync: true}, nil
}

// Write appends to the output.
func (o *File) Write(b []byte) (int, error) { return o.w.Write(b) }

// WriteAt writes at an offset, as [File.Places] permits.
func (o *File) WriteAt(b []byte, off int64) (int, error) { return o.file.WriteAt(b, off) }

// Places reports whether the output has places: whether WriteAt and Reserve may
// be called. A stream has none.
func (o *File) Places() bool { return o.target != "" }

// Reserve gives the file that size, and room on the disk if its file system does
// so at once and is quicker for it: ext4 is, by a fifth of what writing takes; XFS
// and btrfs aren't, and tmpfs and some others would write all of it. Too little
// room is an error.
func (o *File) Reserve(size int64) error {
	if err := reserve(o.file, size); err != nil {
		return fmt.Errorf("%s, %d bytes: %w", o.target, size, err)
	}
	return nil
}

// Synced reports whether Commit waits until the content is durable.
func (o *File) Synced() bool { return o.sync }

// Commit gives the output its name, when it is durable unless Options said
// that it needn't be. Standard output is left open.
func (o *File) Commit() error {
	if o.done {
		return nil
	}
	if o.target == "" {
		o.done = true
		if o.file == nil {
			return nil
		}
		return Wrap("close", o.file.Close())
	}
	if o.mode != 0 {
		if err := o.file.Chmod(o.mode); err != nil {
			return Wrap("set the mode of", err)
		}
	}
	if o.sync {
		if err := o.file.Sync(); err != nil {
			return Wrap("sync", err)
		}
	}
	if err := o.file.Close(); err != nil {
		return Wrap("close", err)
	}
	if err := os.Rename(o.file.Name(), o.target); err != nil {
		return Wrap("rename", err)
	}
	o.done = true
	if !o.sync {
		return nil
	}
	return Wrap("sync the directory of", syncDir(filepath.Dir(o.target)))
}

// Abort throws the output away unless it was committed.
func (o *File) Abort() {
	if o.done || o.file == nil {
		return
	}
	o.done = true
	o.file.Close()
	if o.target != "" {
		os.Remove(o.file.Name())
	}
}

// Wrap says of an error that it came of the output; nil stays nil.
func Wrap(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s output: %w", verb, err)
}

// Write puts data under its name as a whole, readable by the owner alone.
func Write(path string, data []byte) error {
	out, err := createBeside(path, 0, 0)
	if err != nil {
		return err
	}
	defer out.Abort()
	if _, err := out.Write(data); err != nil {
		return Wrap("write", err)
	}
	return out.Commit()
}

// syncDir makes a rename in dir survive a power cut. Windows can't open a
// directory for that and orders the rename itself.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
