// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"claviger/internal/authority"
	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/rules"
	"claviger/internal/wire"
)

// Options of an endpoint.
const (
	OptionMount   = "transit.mount"   // path of the mount; DefaultMount without it
	OptionPrefix  = "transit.prefix"  // stands before the name of each key
	OptionDerived = "transit.derived" // names of derived keys, separated by ","; "x*" is all that begin with x
)

// DefaultMount is where the engine is unless an option says otherwise.
const DefaultMount = "transit"

// Mount is a transit engine at one place.
type Mount struct {
	at, prefix string
	derived    []string
}

// New reads the options of an endpoint.
func New(options []authority.Tag) (*Mount, error) {
	m := &Mount{at: DefaultMount}
	for _, o := range options {
		switch o.Name {
		case OptionMount:
			m.at = o.Value
		case OptionPrefix:
			m.prefix = o.Value
		case OptionDerived:
			m.derived = strings.Split(o.Value, ",")
		}
	}
	if !wire.ValidKeyName(m.at) {
		return nil, fmt.Errorf("%s is no path of lower-case letters, digits, dots, dashes and underlines", OptionMount)
	}
	if m.prefix != "" && !wire.ValidKeyName(m.prefix+"x") {
		return nil, fmt.Errorf("%s can't begin the name of a key", OptionPrefix)
	}
	for _, name := range m.derived {
		if !wire.ValidNamePart(strings.TrimSuffix(name, "*") + "x") {
			return nil, fmt.Errorf("%s holds no names separated by commas", OptionDerived)
		}
	}
	return m, nil
}

// At is the mount's path, without slashes around it.
func (m *Mount) At() string { return m.at }

// Routes are all that the mount answers.
func (m *Mount) Routes() []call.Route {
	at := "/" + m.at
	write := func(name, path string, limit int64, h func(context.Context, *call.Call) (*call.Reply, error)) call.Route {
		return call.Route{Name: "transit-" + name, Op: call.Write, Path: at + path, Limit: limit, Handle: h}
	}
	return []call.Route{
		{Name: "transit-keys", Op: call.List, Path: at + "/keys", Handle: m.list},
		{Name: "transit-keys-slash", Op: call.List, Path: at + "/keys/{$}", Handle: m.list},
		{Name: "transit-key-read", Op: call.Read, Path: at + "/keys/{name}", Handle: m.read},
		write("key-create", "/keys/{name}", 0, m.create),
		{Name: "transit-key-delete", Op: call.Delete, Path: at + "/keys/{name}", Handle: m.remove},
		write("key-config", "/keys/{name}/config", 0, m.config),
		write("key-rotate", "/keys/{name}/rotate", 0, m.rotate),
		write("key-trim", "/keys/{name}/trim", 0, m.trim),
		write("key-retire", "/keys/{name}/soft-delete", 0, m.retire),
		{Name: "transit-key-retire-too", Op: call.Delete, Path: at + "/keys/{name}/soft-delete", Handle: m.retire},
		write("key-import", "/keys/{name}/import", 0, off("importing keys")),
		write("key-import-version", "/keys/{name}/import_version", 0, off("importing keys")),
		{Name: "transit-export", Op: call.Read, Path: at + "/export/{rest...}", Handle: off("exporting keys")},
		{Name: "transit-byok-export", Op: call.Read, Path: at + "/byok-export/{rest...}", Handle: off("exporting keys")},
		{Name: "transit-backup", Op: call.Read, Path: at + "/backup/{name}", Handle: off("backing up keys")},
		write("restore", "/restore", 0, off("restoring keys")),
		write("restore-as", "/restore/{name}", 0, off("restoring keys")),
		{Name: "transit-wrapping-key", Op: call.Read, Path: at + "/wrapping_key", Handle: off("importing keys")},
		write("encrypt", "/encrypt/{name}", call.LargeBody, m.encrypt),
		write("decrypt", "/decrypt/{name}", call.LargeBody, m.decrypt),
		write("rewrap", "/rewrap/{name}", call.LargeBody, m.rewrap),
		write("datakey", "/datakey/{kind}/{name}", 0, m.dataKey),
		write("sign", "/sign/{name}", call.LargeBody, m.sign),
		write("sign-with", "/sign/{name}/{algorithm}", call.LargeBody, m.sign),
		write("verify", "/verify/{name}", call.LargeBody, m.verify),
		write("verify-with", "/verify/{name}/{algorithm}", call.LargeBody, m.verify),
		write("hmac", "/hmac/{name}", call.LargeBody, m.hmac),
		write("hmac-with", "/hmac/{name}/{algorithm}", call.LargeBody, m.hmac),
		write("random", "/random", 0, m.random),
		write("random-of", "/random/{source}", 0, m.random),
		write("random-of-bytes", "/random/{source}/{bytes}", 0, m.random),
		write("hash", "/hash", call.LargeBody, m.hash),
		write("hash-with", "/hash/{algorithm}", call.LargeBody, m.hash),
	}
}

// off refuses what Claviger doesn't do.
func off(what string) func(context.Context, *call.Call) (*call.Reply, error) {
	return func(context.Context, *call.Call) (*call.Reply, error) {
		return nil, call.Bad(what + " is not allowed: Claviger's keys don't leave it by this way")
	}
}

// key is the domain's name of the key in a path.
func (m *Mount) key(c *call.Call) (string, error) {
	name := c.PathValue("name")
	if !wire.ValidNamePart(name) || !wire.ValidKeyName(m.prefix+name) {
		return "", call.Bad("invalid key name: it has lower-case letters, digits, dots, dashes and underlines, 128 with the prefix")
	}
	c.Note("key", m.prefix+name)
	return m.prefix + name, nil
}

// isDerived says whether the endpoint's options make a key, by its name here, one
// that each use derives from a context.
func (m *Mount) isDerived(name string) bool {
	return slices.ContainsFunc(m.derived, func(d string) bool {
		if all, ok := strings.CutSuffix(d, "*"); ok {
			return strings.HasPrefix(name, all)
		}
		return d == name
	})
}

const maxPartition = 256

// partition is that of a key, of the context in a request.
func (m *Mount) partition(c *call.Call, context *call.Bytes) ([]byte, error) {
	switch {
	case !m.isDerived(c.PathValue("name")):
		return nil, nil
	case context.Fault != nil:
		return nil, context.Fault
	case len(context.Value) == 0:
		return nil, call.Bad("missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request information must be included in order to perform operations with the key")
	case len(context.Value) > maxPartition:
		return nil, call.Badf("context is longer than %d bytes", maxPartition)
	}
	return context.Value, nil
}

// route is what policies and audit leaves know this door as.
const route = "vault"

// work is one use of a key, among others of a request.
type work struct {
	use  *keyserver.Use
	used *keyserver.Used // once it is done
	err  error           // why it can't be, or couldn't
}

// run has the server do all works that have no error yet. Its error is that of the
// whole request.
func (m *Mount) run(ctx context.Context, c *call.Call, works []*work) error {
	var open []*work
	body := wire.Hash(sha256.Sum256(c.Body))
	for i, w := range works {
		if w.err == nil && w.use != nil {
			w.use.Request, w.use.Index, w.use.Route = body, uint64(i), route
			open = append(open, w)
		}
	}
	for some := range slices.Chunk(open, keyserver.MaxTogether) {
		if err := together(ctx, c, some); err != nil {
			return err
		}
	}
	return m.sort(ctx, c, open)
}

// together does at most MaxTogether of them.
func together(ctx context.Context, c *call.Call, works []*work) error {
	uses := make([]*keyserver.Use, len(works))
	for i, w := range works {
		uses[i] = w.use
	}
	a, err := c.Do(ctx, &keyserver.UseAll{Uses: uses})
	if err != nil {
		return err
	}
	for i, r := range a.(*keyserver.UsedAll).Results {
		works[i].used, works[i].err = r.Used, r.Err
	}
	return nil
}

// sort turns the errors of works into Vault's words; what isn't about one item alone
// fails the request.
func (m *Mount) sort(ctx context.Context, c *call.Call, works []*work) error {
	var key *keyserver.Described // asked for once, when a state has to be explained
	denied := 0
	for _, w := range works {
		d, isDenial := errors.AsType[*keyserver.Denial](w.err)
		switch {
		case w.err == nil:
		case isDenial && d.Cause == keyserver.CausePolicy:
			denied++
			w.err = call.Denied(w.err)
		case isDenial && d.Cause == keyserver.CauseState:
			if key == nil {
				var err error
				if key, err = m.describe(ctx, c, w.use.Item.Name); err != nil {
					return err
				}
			}
			w.err = explain(w.use, key).Because(w.err)
		case isDenial && d.Cause == keyserver.CauseAbsent:
			return absent(w.use.Operation).Because(w.err)
		case isDenial:
			return w.err
		case errors.Is(w.err, keyserver.ErrMalformed):
			w.err = unfit(w.use).Because(w.err)
		default:
			return w.err
		}
	}
	if denied > 0 && denied == len(works) {
		return works[0].err
	}
	return nil
}

// absent is Vault's word for a key that isn't there.
func absent(operation string) *call.Error {
	switch operation {
	case "sign", "verify", "mac", "verify-mac":
		return call.Bad("signing key not found")
	}
	return call.Bad("encryption key not found")
}

// unfit is Vault's word for an input that can't be worked on.
func unfit(u *keyserver.Use) *call.Error {
	switch u.Operation {
	case "open":
		return call.Bad("cipher: message authentication failed")
	case "sign", "verify":
		return call.Bad("this key doesn't sign such an input, or not in this way")
	}
	return call.Bad("invalid input")
}

// explain is Vault's word for a state of a key in which a use of it is refused.
func explain(u *keyserver.Use, key *keyserver.Described) *call.Error {
	row, _ := typeOf(func(r typeRow) bool { return r.ours == key.Algorithm })
	fits := row.encrypt
	switch u.Operation {
	case "sign", "verify":
		fits = row.sign
	case "mac", "verify-mac":
		fits = !row.sign && !row.encrypt
	}
	produces := u.Operation == "seal" || u.Operation == "sign" || u.Operation == "mac"
	switch {
	case !fits && (u.Operation == "seal" || u.Operation == "open"):
		return call.Bad("message " + map[bool]string{true: "encryption", false: "decryption"}[produces] + " not supported for key type " + row.vault)
	case !fits && u.Operation == "mac", !fits && u.Operation == "verify-mac":
		return call.Bad("key type " + row.vault + " has no HMAC here: make a key of type hmac")
	case !fits:
		return call.Bad("key type " + row.vault + " does not support signing")
	case u.Item.Version > key.Version && produces:
		return call.Bad("requested version for encryption is higher than the latest key version")
	case u.Item.Version > key.Version:
		return call.Bad("invalid ciphertext: version is too new")
	case produces:
		return call.Bad("requested version for encryption is less than the minimum encryption key version")
	}
	return call.Bad("ciphertext or signature version is disallowed by policy (too old)")
}

// describe asks what a key is.
func (m *Mount) describe(ctx context.Context, c *call.Call, name string) (*keyserver.Described, error) {
	a, err := c.Do(ctx, &keyserver.Describe{Name: name, Route: route})
	if err != nil {
		return nil, err
	}
	return a.(*keyserver.Described), nil
}

// causeIs reports whether an error is a denial for a cause.
func causeIs(err error, cause rules.Cause) bool {
	d, ok := errors.AsType[*keyserver.Denial](err)
	return ok && d.Cause == cause
}

// partial is the status of a batch of which some failed.
func partial(wanted call.Int, works []*work) int {
	failed := 0
	for _, w := range works {
		if w.err != nil {
			failed++
		}
	}
	switch {
	case failed == 0:
		return http.StatusOK
	case failed < len(works) && wanted.Value >= 200 && wanted.Value < 600:
		return int(wanted.Value)
	}
	return http.StatusBadRequest
}
