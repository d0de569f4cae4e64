// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"claviger/internal/strictjson"
	"claviger/internal/wire"
)

// The kinds of profiles. An admin's holds an authority key, a client's the
// certificate of a workload.
const (
	kindAdmin  = "admin"
	kindClient = "client"
)

// profileFile is the file that makes a directory a profile.
const profileFile = "profile.json"

// maxProfileFile bounds what is read of it.
const maxProfileFile = 1 << 20

// profileInfo is what profiles of every kind say first. The rest belongs to the
// packages client and admin, which read it strictly.
type profileInfo struct {
	Schema    int      `json:"schema"`
	Kind      string   `json:"kind"`
	Demo      bool     `json:"demo"`
	Domain    string   `json:"domain"`
	Addresses []string `json:"addresses"`
}

// profileHome is where profiles lie that are called by name.
func (e *env) profileHome() (string, error) {
	if dir := e.getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "claviger"), nil
	}
	if home := e.getenv("HOME"); home != "" {
		return filepath.Join(home, ".config", "claviger"), nil
	}
	return "", usagef("there is no home directory to keep profiles in").withHint("give a directory: --profile DIR, or set CLAVIGER_PROFILE")
}

// profilePath turns what --profile takes into a directory: a name lies under
// the home of profiles, anything with a separator is a path.
func (e *env) profilePath(name string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) || strings.ContainsRune(name, '/') || filepath.IsAbs(name) {
		return filepath.Abs(name)
	}
	if !wire.ValidNamePart(name) {
		return "", usagef("%q is no name of a profile", name).withHint("a name has [a-z0-9._-]; a directory has a separator, such as %s", word("./"+name))
	}
	home, err := e.profileHome()
	return filepath.Join(home, name), err
}

// newProfileDir is the directory of a profile that is about to be made: the one
// that --profile names, else that of the given name.
func (e *env) newProfileDir(name string) (string, error) {
	if e.profile != "" {
		name = e.profile
	}
	dir, err := e.profilePath(name)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(filepath.Join(dir, profileFile)); err == nil {
		return "", usagef("there is a profile in %s already", dir).withHint("name another with --profile")
	}
	return dir, nil
}

// profileDir finds the profile to work with: the one that --profile names; else
// the one that `profile use` chose for this kind; else the only one of this
// kind. An empty kind takes either, an admin's first.
func (e *env) profileDir(kind string) (string, error) {
	if e.profile != "" {
		return e.namedProfile(e.profile, kind)
	}
	home, err := e.profileHome()
	if err != nil {
		return "", err
	}
	kinds := []string{kind}
	if kind == "" {
		kinds = []string{kindAdmin, kindClient}
	}
	for _, k := range kinds {
		if chosen, err := os.ReadFile(filepath.Join(home, "current-"+k)); err == nil {
			return e.namedProfile(strings.TrimSpace(string(chosen)), k)
		}
		names, err := profileNames(home, k)
		switch {
		case err != nil:
			return "", err
		case len(names) == 1:
			return filepath.Join(home, names[0]), nil
		case len(names) > 1:
			return "", usagef("there are several %s profiles: %s", k, strings.Join(names, ", ")).
				withHint("choose one: claviger profile use NAME, or --profile NAME")
		}
	}
	return "", noProfile(kind)
}

func noProfile(kind string) *Failure {
	f := &Failure{Code: ExitNotFound, Message: "there is no profile on this machine", Err: fs.ErrNotExist}
	switch kind {
	case kindAdmin:
		f.Message = "there is no admin's profile on this machine"
		return f.withHint("claviger init --dir DIR makes one for the first admin; claviger admin keygen NAME makes one for others")
	case kindClient:
		f.Message = "there is no client's profile on this machine"
	}
	return f.withHint("an admin can run: claviger client invite NAME; then run: claviger client enroll INVITE")
}

// namedProfile is the profile called name, which has to be of this kind.
func (e *env) namedProfile(name, kind string) (string, error) {
	dir, err := e.profilePath(name)
	if err != nil {
		return "", err
	}
	info, err := readProfileInfo(dir)
	if err != nil {
		return "", err
	}
	if kind != "" && info.Kind != kind {
		return "", usagef("the profile %s is of kind %s; this command needs one of kind %s", name, info.Kind, kind).
			withHint("claviger profile list shows which there are")
	}
	return dir, nil
}

// readProfileInfo reads what a profile says of itself.
func readProfileInfo(dir string) (profileInfo, error) {
	path := filepath.Join(dir, profileFile)
	stat, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return profileInfo{}, (&Failure{Code: ExitNotFound, Message: "there is no profile in " + dir, Err: err}).
			withHint("claviger profile list shows which there are")
	}
	if err != nil {
		return profileInfo{}, fmt.Errorf("read profile: %w", err)
	}
	if stat.Size() > maxProfileFile {
		return profileInfo{}, fmt.Errorf("read profile: %s is larger than %d bytes", path, maxProfileFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return profileInfo{}, fmt.Errorf("read profile: %w", err)
	}
	var info profileInfo
	err = strictjson.Check(data)
	if err == nil {
		err = json.Unmarshal(data, &info)
	}
	if err != nil {
		return profileInfo{}, fmt.Errorf("read profile: %s is not a profile: %w", path, err)
	}
	if info.Schema != schemaVersion {
		return profileInfo{}, fmt.Errorf("read profile: %s has schema %d; this program knows %d", path, info.Schema, schemaVersion)
	}
	return info, nil
}

// profileNames lists the profiles of a kind by name ("" for every kind).
func profileNames(home, kind string) ([]string, error) {
	entries, err := os.ReadDir(home)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list profiles: %w", err)
	}
	var names []string
	for _, entry := range entries {
		info, err := readProfileInfo(filepath.Join(home, entry.Name()))
		if err == nil && (kind == "" || info.Kind == kind) {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}
