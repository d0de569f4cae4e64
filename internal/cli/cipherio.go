// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/spf13/cobra"

	"claviger/client"
)

// longFile is from how many bytes on progress is shown.
const longFile = 32 << 20

// maxWorkers is how many encrypt or decrypt a file at most: the kernel takes one
// write to a file at a time, so that more would only wait, with 2 MiB each.
const maxWorkers = 8

// bulkWorkers is how many goroutines encrypt or decrypt a file: one for each
// processor. The scheduler gets one more than there are. Otherwise, as none is
// ever idle, it takes a processor from each goroutine whose read or write lasts
// longer than 20 µs, to have nobody use it, and wakes up that often to do so.
var bulkWorkers = sync.OnceValue(func() int {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(n + 1)
	return min(n, maxWorkers)
})

// cipherFlags are those that encrypt, decrypt and rewrap share.
type cipherFlags struct {
	partition, context string
	named              bool // --partition was given, be it empty
	out, reason        string
	fsync              bool // also of a new file
}

func (f *cipherFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.partition, "partition", "", "which of the key's independent keys: a tenant, a day; shown in the ciphertext")
	cmd.Flags().StringVar(&f.context, "context", "", "what the ciphertext is bound to, such as its path; must be the same when it is opened")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for policies and the audit log")
}

func (f *cipherFlags) addOut(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.out, "output", "o", "", "file to write (default: standard output)")
	cmd.Flags().BoolVar(&f.fsync, "fsync", false, "end only when a new file is on the disk; one that replaces another always is")
}

// output is where encrypt and decrypt write to.
func (f *cipherFlags) output(in *input, binary bool) outputOptions {
	return outputOptions{Path: f.out, Inputs: in.inputs(), Binary: binary, Remakeable: !f.fsync}
}

// contextBytes is nil without a context: an empty one is the same.
func (f *cipherFlags) contextBytes() []byte { return []byte(f.context) }

// partitionBytes is nil unless a partition was named.
func (f *cipherFlags) partitionBytes() []byte {
	if !f.named {
		return nil
	}
	return append([]byte{}, f.partition...)
}

// dial opens the client's profile. Nobody is asked anything yet.
func (e *env) dial(ctx context.Context, reason string) (*client.Client, *client.Profile, error) {
	dir, err := e.profileDir(kindClient)
	if err != nil {
		return nil, nil, err
	}
	p, err := client.OpenProfile(dir)
	if err != nil {
		return nil, nil, err
	}
	c, err := client.Dial(ctx, p, client.Options{AllowDemo: p.Demo, Reason: reason, Log: e.warnings()})
	return c, p, err
}

// input is what a command reads: a regular file, which can be read at any place,
// or a stream.
type input struct {
	name string // "" for standard input
	r    io.Reader
	file *os.File // nil for a stream
	size int64
	bar  *progress
}

// openInput opens the file that args name, or standard input for none and "-".
func (e *env) openInput(args []string) (*input, error) {
	if len(args) == 0 || args[0] == "-" {
		return &input{r: e.In, bar: &progress{w: io.Discard, total: 1}}, nil
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = usagef("the input is a directory: %s", args[0])
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	in := &input{name: args[0], r: f, bar: &progress{w: io.Discard, total: 1}}
	if info.Mode().IsRegular() {
		in.file, in.size = f, info.Size()
	}
	if e.ErrTTY && in.size >= longFile {
		in.bar = e.progress(args[0], in.size)
	}
	return in, nil
}

// inputs names the input for the check that it isn't the output.
func (in *input) inputs() []string {
	if in.name == "" {
		return nil
	}
	return []string{in.name}
}

// section is the whole file, counted.
func (in *input) section() *io.SectionReader {
	return io.NewSectionReader(countedReaderAt{in.file, in.bar}, 0, in.size)
}

// stream is the input from where it stands, counted.
func (in *input) stream() io.Reader { return io.TeeReader(in.r, in.bar) }

func (in *input) Close() {
	in.bar.Close()
	if c, ok := in.r.(*os.File); ok && in.name != "" {
		c.Close()
	}
}

// countedReaderAt tells a progress what was read.
type countedReaderAt struct {
	r   io.ReaderAt
	bar *progress
}

func (c countedReaderAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.bar.Add(int64(n))
	return n, err
}

// countedWriter knows how much went through it.
type countedWriter struct {
	w io.Writer
	n int64
}

func (c *countedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// cipherResult says what encrypt or decrypt wrote to a file.
type cipherResult struct {
	Output  string `json:"output"`
	Bytes   int64  `json:"size_bytes"`
	Key     string `json:"key"`
	ID      string `json:"key_id,omitempty"`
	Version uint64 `json:"version,omitempty"`
}

// human is silent: a file that is there says enough.
func (r cipherResult) human(*printer) {}

// showCipher shows the result if standard output isn't the result.
func (e *env) showCipher(r cipherResult) error {
	if r.Output == "" || r.Output == "-" {
		return nil
	}
	return e.show(r)
}

// opened tells people which key opened an object that they named none for.
func (e *env) opened(o client.Opened) {
	e.tell("note", "opened with %s version %d", o.Key, o.Version)
	if o.State == "compromised" {
		e.warn("this version is compromised: somebody else may have written what was decrypted")
	}
}
