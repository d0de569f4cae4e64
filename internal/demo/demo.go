// SPDX-License-Identifier: Apache-2.0

// Package demo runs a whole trust domain in one process, on 127.0.0.1 only, and
// shows what it does: a tour of command lines that a person could type.
//
// [Open] founds the domain in a fresh directory and starts it; [Demo.Tour] runs
// the tour, and [Demo.Close] stops everything and, unless told otherwise, leaves
// no file behind. The directory holds
//
//	server/     the key server's data directory
//	relay/      the relay's; relay.toml beside it is for claviger-relay
//	admin/      the profile of an admin, whose authority key lies under a key file
//	app/        the profile of a workload that may use the keys of the tour
//	app2/       that of another, which may not
//	detour/     that of a third, which may, and whose relay changes what it carries
//	env.sh      for a shell: . env.sh, and claviger is the workload "app"
//
// Workloads know the relay alone, from their invites on: the server listens on
// 127.0.0.1 for the admin, and dials out to the relay.
//
// # What it does not do
//
// Nothing here stands in for a part of the product: server, profiles, policy and
// audit are the real ones, and the tour runs real command lines through the real
// command line. Only what a person would type is filled in: the root is sealed
// under a key file, and the authority key too. The relay is the front that
// claviger-relay has, over memory in place of NATS: what it carries is forgotten
// when the demo ends.
//
// # Threats
//
// The keys of a demo protect nothing: what opens them lies beside them. So the
// domain says of itself that it is a demo, in its genesis, and every program
// refuses it unless its profile or configuration was written here.
package demo

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"claviger/client"
	"claviger/internal/admin"
	"claviger/internal/clock"
	"claviger/internal/install"
	"claviger/internal/members"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Names in the demo's directory.
const (
	dirServer  = "server"
	dirAdmin   = "admin"
	dirApp     = "app"
	dirApp2    = "app2"
	dirDetour  = "detour"
	dirRelay   = "relay"
	fileEnv    = "env.sh"
	fileRoot   = "root.key"
	fileUnlock = "unlock.key"
	fileLog    = "server.log"

	fileRelayLog    = "relay.log"
	fileRelayConfig = "relay.toml"

	domainName = "demo.internal"
	configFile = "claviger.toml"
)

// ErrNotEmpty means that the directory is in use for something else.
var ErrNotEmpty = install.ErrNotEmpty

// Command runs one claviger command line under a profile and returns its exit
// status.
type Command func(ctx context.Context, profile string, args []string, out, err io.Writer) int

// Server is what the configuration of a demo's server has to say.
type Server struct {
	Domain                                wire.DomainID
	Name, Listen, Metrics, Doors, KeyFile string
	Relay                                 string // address with its pin
}

// Config renders the configuration of a demo's server.
type Config func(Server) []byte

// Options of a Demo; all but Dir, Program and Progress are required.
type Options struct {
	Dir      string // "" makes a directory that Close removes
	Program  string // path of claviger itself, for env.sh
	Run      Command
	Config   Config
	Clock    clock.Clock
	Progress func(text string) // hears what is going on while it starts
}

// Demo is a domain that runs.
type Demo struct {
	Dir     string
	Address string // of the server's API, for the admin
	Relay   string // of the relay, with its pin

	o       Options
	relay   *relayed
	held    *client.Client // a workload that runs all the time; nil if none does
	kept    bool           // Dir was named: it stays after a tour that ended
	existed bool           // and was there, empty
	stop    context.CancelFunc
	ended   chan int // exit status of the server
}

// Open founds a domain, starts its server and enrols two workloads. After an
// error, or when ctx ends meanwhile, nothing is left.
func Open(ctx context.Context, o Options) (*Demo, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	d := &Demo{o: o, kept: o.Dir != ""}
	if err := d.makeDir(); err != nil {
		return nil, err
	}
	if err := d.open(ctx); err != nil {
		return nil, errors.Join(err, d.Remove())
	}
	return d, nil
}

func (d *Demo) makeDir() (err error) {
	if !d.kept {
		if d.Dir, err = os.MkdirTemp("", "claviger-demo-"); err != nil { // 0700
			return err
		}
		d.Dir, err = filepath.Abs(d.Dir) // $TMPDIR may be relative
		return err
	}
	if d.Dir, err = filepath.Abs(d.o.Dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(d.Dir, 0o700)
	}
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%w: %s", ErrNotEmpty, d.Dir)
	}
	d.existed = true
	return err
}

// Remove stops the server and removes all files.
func (d *Demo) Remove() error {
	d.halt()
	if !d.existed {
		return os.RemoveAll(d.Dir)
	}
	entries, err := os.ReadDir(d.Dir)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(d.Dir, entry.Name())))
	}
	return err
}

// Close stops the server, and removes all files unless the directory was named.
func (d *Demo) Close() error {
	if d.kept {
		d.halt()
		return nil
	}
	return d.Remove()
}

// halt stops everything: clients first, the relay last.
func (d *Demo) halt() {
	if d.held != nil {
		_ = d.held.Close() // it forgets its keys; there is nothing to be done about more
		d.held = nil
	}
	d.haltServer()
	if d.relay != nil {
		d.relay.close()
		d.relay = nil
	}
}

func (d *Demo) haltServer() {
	if d.stop != nil {
		d.stop()
		<-d.ended
		d.stop = nil
	}
}

// path is a name in the demo's directory.
func (d *Demo) path(name ...string) string { return filepath.Join(append([]string{d.Dir}, name...)...) }

func (d *Demo) open(ctx context.Context) error {
	var err error
	if d.relay, err = d.openRelay(); err != nil {
		return err
	}
	d.Relay = d.relay.address()
	d.o.Progress("founding a trust domain")
	p, made, err := d.found(ctx)
	if err != nil {
		return err
	}
	d.o.Progress("starting the relay and the key server")
	if err := d.relay.serve(ctx, made.Domain, d); err != nil {
		return err
	}
	if err := d.start(ctx, made.Domain); err != nil {
		return err
	}
	if err := d.relay.metServer(ctx); err != nil {
		return err
	}
	d.o.Progress("the key server listens on " + d.Address + ", for the admin alone")
	d.o.Progress("workloads reach it through the relay " + d.Relay)
	if err := p.Join(made.Domain, []string{d.Address}, made.Members); err != nil {
		return err
	}
	for _, name := range []string{dirApp, dirApp2, dirDetour} {
		d.o.Progress("enrolling the workload " + name + " through the relay, with an invite and nothing else")
		if err := d.enrol(ctx, name); err != nil {
			return err
		}
	}
	return d.takeDetour()
}

// found makes the admin's profile and the domain.
func (d *Demo) found(ctx context.Context) (*admin.Profile, *install.Made, error) {
	unlock, rootKey := secret.Random(root.MinKey), secret.Random(root.MinKey)
	defer unlock.Wipe()
	defer rootKey.Wipe()
	p, key, err := admin.CreateProfile(d.path(dirAdmin), admin.NewProfile{
		Name: "admin", Demo: true, Unlock: admin.Unlock{Key: unlock}, KeyFile: fileUnlock,
	})
	if err != nil {
		return nil, nil, err
	}
	defer key.Wipe()
	err = errors.Join(
		os.WriteFile(d.path(dirAdmin, fileUnlock), unlock.Expose(), 0o600),
		os.WriteFile(d.path(fileRoot), rootKey.Expose(), 0o600),
	)
	if err != nil {
		return nil, nil, err
	}
	made, err := install.Make(ctx, install.Plan{
		Dir: d.path(dirServer), ConfigFile: configFile, Name: domainName, Demo: true, Clock: d.o.Clock,
		Sealing: root.Sealing{Key: rootKey}, Keys: members.Keys{Keys: []members.Key{p.Member()}, Threshold: 1}, Admin: key,
		Drill: func(_ context.Context, dir string, with root.Unlock) ([root.Size]byte, error) {
			return root.Drill(dir, with)
		},
		Config: func(domain wire.DomainID) []byte { return d.config(domain, usual) },
	})
	return p, made, err
}

func (d *Demo) config(domain wire.DomainID, at addresses) []byte {
	return d.o.Config(Server{
		Domain: domain, Name: domainName, Listen: at.Listen, Metrics: at.Metrics, Doors: at.Doors, KeyFile: filepath.Join("..", fileRoot), Relay: d.Relay,
	})
}

// EnvFile is the file for a shell that makes it the workload.
func (d *Demo) EnvFile() string { return d.path(fileEnv) }

// AdminEnvFile is the file for a shell that makes it the admin.
func (d *Demo) AdminEnvFile() string { return d.path(dirAdmin, fileEnv) }

// WriteEnv writes the files that make a shell speak as the workload or as the
// admin. They are the last that appear: whoever waits for them finds all done.
func (d *Demo) WriteEnv() error {
	for _, at := range []struct{ file, profile string }{
		{d.path(dirAdmin, fileEnv), d.path(dirAdmin)}, {d.path(fileEnv), d.path(dirApp)},
	} {
		text := "CLAVIGER_PROFILE=" + Quote(at.profile) + "\nexport CLAVIGER_PROFILE\n"
		if d.o.Program != "" {
			text += "PATH=" + Quote(filepath.Dir(d.o.Program)) + ":$PATH\nexport PATH\n"
		}
		var tag [4]byte
		rand.Read(tag[:])
		part := fmt.Sprintf("%s.%x", at.file, tag)
		err := cmp.Or(os.WriteFile(part, []byte(text), 0o600), os.Rename(part, at.file))
		if err != nil {
			return fmt.Errorf("write %s: %w", fileEnv, err)
		}
	}
	return nil
}

// Quote makes one word of the shell.
func Quote(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(plain, r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// plain characters mean nothing to a shell.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@"
