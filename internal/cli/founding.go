// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"claviger/internal/admin"
	"claviger/internal/admin/authkey"
	"claviger/internal/cli/doors"
	"claviger/internal/clock"
	"claviger/internal/install"
	"claviger/internal/members"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// found makes the admin's profile and the domain. What it began is gone again
// when it fails.
func (e *env) found(ctx context.Context, f initFlags) (r initResult, err error) {
	if f.dir == "" {
		return r, usagef("--dir is missing").withHint("claviger init --dir DIR")
	}
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		return r, fmt.Errorf("init: %w", err)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 { // before anybody types a passphrase
		return r, notEmpty(fmt.Errorf("%w: %s", install.ErrNotEmpty, dir))
	}
	plan, err := e.plan(ctx, f, dir)
	if err != nil {
		return r, err
	}
	defer wipeAll(plan.Sealing.Passphrase, plan.Sealing.Key)
	profile, key, fresh, err := e.founder(ctx, f, dir)
	if err != nil {
		return r, err
	}
	defer key.Wipe()
	plan.Admin = key
	plan.Keys.Keys = append([]members.Key{profile.Member()}, plan.Keys.Keys...)
	defer func() {
		if err != nil && fresh {
			os.RemoveAll(profile.Dir())
		}
	}()
	if err := plan.Keys.Check(); err != nil {
		return r, usagef("the admins don't fit together: %v", err)
	}
	if plan.Recovery, err = f.recovery.read(plan.Keys.Keys); err != nil {
		return r, err
	}
	made, err := install.Make(ctx, plan)
	if errors.Is(err, install.ErrNotEmpty) {
		return r, notEmpty(err)
	}
	if err != nil {
		return r, err
	}
	if err := profile.Join(made.Domain, f.reach(), made.Members); err != nil {
		return r, err
	}
	r = initResult{
		Domain: made.Domain.String(), Name: plan.Name, Dir: dir, Profile: profile.Dir(), Quorum: plan.Keys.Threshold,
		Root: f.rootWords(plan.Sealing), Fingerprint: wire.Hash(made.Fingerprint).String(), Drilled: true,
		Strict: plan.Strict, Recovery: plan.Recovery.Threshold > 0, recoveryInfo: recoveryOf(plan.Recovery),
	}
	for _, k := range plan.Keys.Keys {
		r.Admins = append(r.Admins, k.Name)
	}
	return r, nil
}

func notEmpty(err error) *Failure {
	return usagef("%v", err).withHint("name a directory that is empty or not there yet")
}

// plan turns flags into a plan, without the first admin. It asks for the root's
// passphrase last, when all else is right.
func (e *env) plan(ctx context.Context, f initFlags, dir string) (install.Plan, error) {
	p := install.Plan{Dir: dir, ConfigFile: configFile, Name: f.name, Strict: f.strict, Clock: clock.System(), Drill: e.drill}
	var err error
	if p.Keys.Keys, err = namedKeys("--admin", f.admins); err != nil {
		return p, err
	}
	if _, err := f.recovery.read(p.Keys.Keys); err != nil { // again when you are among them
		return p, err
	}
	if p.Keys.Threshold, err = install.Quorum(f.quorum, len(p.Keys.Keys)+1); err != nil {
		return p, usagef("--quorum: %v", err)
	}
	if f.crl && f.ca == "embedded" {
		return p, usagef("only a CA of your own has revocation lists").withHint("add --ca FILE")
	}
	if f.ca != "embedded" {
		roots, err := os.ReadFile(f.ca)
		if err != nil {
			return p, fmt.Errorf("read CA: %w", err)
		}
		if p.Anchors, err = install.OutsideCA(f.name, roots); err != nil {
			return p, usagef("--ca: %v", err)
		}
		for i := range p.Anchors {
			p.Anchors[i].NeedCRL = f.crl
		}
	}
	config := serverConfig{Schema: schemaVersion, Name: f.name, Listen: f.listen, Metrics: f.metrics, Doors: doors.Config{Listen: f.doors}}
	if config.Root.KeyFile, err = f.absKeyFile(); err != nil {
		return p, err
	}
	p.Config = func(domain wire.DomainID) []byte {
		config.Domain = domain.String()
		return config.encode()
	}
	probe := config
	probe.Domain = wire.DomainID{}.String()
	if err := probe.check(); err != nil {
		return p, usagef("%v", err)
	}
	p.Sealing, err = e.sealing(ctx, f)
	return p, err
}

// namedKeys reads the keys that a flag names.
func namedKeys(flag string, texts []string) ([]members.Key, error) {
	var out []members.Key
	for _, text := range texts {
		k, err := authkey.ParseNamed(text)
		if err != nil {
			return nil, usagef("%s: %v", flag, err)
		}
		out = append(out, k)
	}
	return out, nil
}

func (f initFlags) absKeyFile() (string, error) {
	if f.keyFile == "" {
		return "", nil
	}
	return filepath.Abs(f.keyFile)
}

// sealing makes what seals the root. The caller wipes it.
func (e *env) sealing(ctx context.Context, f initFlags) (root.Sealing, error) {
	if f.root != "shares" && (len(f.custodians) > 0 || f.threshold != 0) {
		return root.Sealing{}, usagef("only shares have custodians and a threshold").withHint("add --root shares")
	}
	if (f.root == "keyfile") != (f.keyFile != "") {
		return root.Sealing{}, usagef("--root keyfile and --key-file go together")
	}
	switch f.root {
	case "passphrase":
		pass, err := e.chooseSecret(ctx, f.rootPassphrase)
		return root.Sealing{Passphrase: pass}, err
	case "keyfile":
		key, err := root.ReadKey(f.keyFile)
		return root.Sealing{Key: key}, err
	case "shares":
		if len(f.custodians) == 0 {
			return root.Sealing{}, usagef("shares need custodians").withHint("add --custodian age1… for each; age-keygen makes a key")
		}
		return root.Sealing{Recipients: f.custodians, Threshold: cmp.Or(f.threshold, len(f.custodians)/2+1)}, nil
	}
	return root.Sealing{}, usagef("--root is passphrase, shares or keyfile")
}

func (f initFlags) rootWords(s root.Sealing) string {
	if f.root == "shares" {
		return fmt.Sprintf("%d of %d shares", s.Threshold, len(s.Recipients))
	}
	return map[string]string{"passphrase": "a passphrase", "keyfile": "a key file"}[f.root]
}

// reach lists where the server will be found.
func (f initFlags) reach() []string {
	if len(f.addresses) > 0 {
		return f.addresses
	}
	return []string{f.listen}
}

// chooseSecret reads a new secret: from a file or descriptor, else asked twice.
func (e *env) chooseSecret(ctx context.Context, src secretSource) (*secret.Bytes, error) {
	prompt := src.Prompt
	if src.Prompt = ""; src.File != "" || src.FD >= 0 {
		return e.readSecret(ctx, src)
	}
	return e.newPassphrase(ctx, prompt)
}

// founder opens or makes the first admin's profile: a profile that `admin
// keygen` made and no domain has, or a fresh one.
func (e *env) founder(ctx context.Context, f initFlags, dir string) (p *admin.Profile, key *admin.Key, fresh bool, err error) {
	name := cmp.Or(f.as, e.login())
	at, err := e.profilePath(cmp.Or(e.profile, name))
	if err != nil {
		return nil, nil, false, err
	}
	if within(at, dir) {
		return nil, nil, false, usagef("the profile would lie in the server's directory").
			withHint("whoever takes that directory must not find an authority key in it; name another with --profile")
	}
	p, err = admin.OpenProfile(at)
	if err == nil {
		key, err = e.openFounder(ctx, p, f)
		return p, key, false, err
	}
	if _, statErr := os.Lstat(filepath.Join(at, profileFile)); statErr == nil {
		return nil, nil, false, err // there is one, and it can't be read
	}
	pass, err := e.chooseSecret(ctx, f.passphrase)
	if err != nil {
		return nil, nil, false, err
	}
	defer pass.Wipe()
	p, key, err = admin.CreateProfile(at, admin.NewProfile{Name: name, Unlock: admin.Unlock{Passphrase: pass}})
	return p, key, err == nil, err
}

func (e *env) openFounder(ctx context.Context, p *admin.Profile, f initFlags) (*admin.Key, error) {
	if p.Joined() {
		return nil, usagef("the profile %s belongs to a domain already", p.Dir()).withHint("name another with --profile NAME")
	}
	if p.KeyFile != "" {
		return p.Key(nil)
	}
	f.passphrase.Prompt = "Passphrase of the authority key of " + p.Name
	pass, err := e.readSecret(ctx, f.passphrase)
	if err != nil {
		return nil, err
	}
	defer pass.Wipe()
	return p.Key(pass)
}

// login is the name that a person has on this machine, if it can be an admin's.
func (e *env) login() string {
	for _, v := range []string{"USER", "LOGNAME", "USERNAME"} {
		if name := strings.ToLower(e.getenv(v)); wire.ValidNamePart(name) {
			return name
		}
	}
	return "admin"
}

// within reports whether path lies in dir, as far as names tell.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
