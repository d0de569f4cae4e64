// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers says how high a package stands, with all below its directory unless
// that has a row of its own. A package imports only what stands lower, and its
// own relatives. Highest first, as the design tells it.
var layers = map[string]int{
	"cmd": 11,

	"internal/cli": 10,

	"internal/testkit": 9,

	"internal/console": 8, "internal/gateway": 8, "internal/byok": 8, "internal/campaign": 8,

	"internal/demo": 8,

	"internal/agent": 7, "internal/install": 7, "internal/keyserver/api": 7,

	"internal/keyserver": 6,
	"client":             6,
	"internal/admin":     6,

	"internal/secrets": 5, "internal/relay": 5, "internal/holders": 5,

	"internal/authn": 4, "internal/authority": 4, "internal/transport": 4,

	"internal/audit": 3, "internal/policy": 3, "internal/hierarchy": 3, "internal/attest": 3, "internal/pki/ca": 3,

	"envelope": 2, "internal/root": 2, "internal/members": 2, "internal/store": 2, "internal/pki": 2,

	"internal/kdf": 1, "internal/wire": 1,

	"internal/secret": 0, "internal/clock": 0, "internal/arch": 0, "internal/strictjson": 0, "internal/settings": 0, "internal/newcomers": 0, "internal/pace": 0, "internal/testkit/faultfs": 0,
}

// row finds the row that speaks for a package directory.
func row(dir string) (string, bool) {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, ok := layers[dir]; ok {
			return dir, true
		}
	}
	return "", false
}

// importsOf lists the product packages that s imports, as directories.
func importsOf(s *source) []string {
	var out []string
	for _, i := range s.file.Imports {
		if p, _ := strconv.Unquote(i.Path.Value); strings.HasPrefix(p, "claviger/") {
			out = append(out, strings.TrimPrefix(p, "claviger/"))
		}
	}
	return out
}

// isTestSupport says whether a package exists for tests: a conformance suite,
// fakes, the test kit. "attest" is not one, its name notwithstanding.
func isTestSupport(dir string) bool {
	name := path.Base(dir)
	return within(dir, "internal/testkit") || strings.HasSuffix(name, "test") && name != "attest"
}

func checkLayers(s *source) []string {
	if s.test {
		return nil
	}
	from, ok := row(s.dir())
	if !ok {
		return []string{s.at(s.file, "package %s has no layer; add a row to layers_test.go", s.dir())}
	}
	var found []string
	for _, to := range importsOf(s) {
		target, ok := row(to)
		switch {
		case isTestSupport(to) && !isTestSupport(s.dir()):
			found = append(found, s.at(s.file, "imports %s, which is for tests", to))
		case isTestSupport(s.dir()) || target == from || within(to, s.dir()) || within(s.dir(), to):
		case !ok:
			found = append(found, s.at(s.file, "imports %s, which has no layer", to))
		case layers[target] >= layers[from]:
			found = append(found, s.at(s.file, "imports %s, which does not stand lower", to))
		}
	}
	return found
}

func TestLayers(t *testing.T) {
	enforce(t, []rule{
		{name: "downward", check: checkLayers, path: "internal/policy/a.go",
			bad: "package policy\nimport _ \"claviger/internal/keyserver\"", good: "package policy\nimport _ \"claviger/internal/wire\""},
		{name: "no neighbours", check: checkLayers, path: "internal/policy/a.go",
			bad: "package policy\nimport _ \"claviger/internal/audit\"", good: "package policy\nimport _ \"claviger/internal/policy/cedartext\""},
	})
	for _, r := range []rule{
		{name: "a row each", path: "internal/novelty/a.go", bad: "package novelty"},
		{name: "an import with a row", path: "internal/policy/a.go", bad: "package policy\nimport _ \"claviger/internal/novelty\""},
		{name: "no test support in the product", path: "internal/keyserver/a.go", bad: "package keyserver\nimport _ \"claviger/internal/store/storetest\""},
		{name: "no test kit in the product", path: "internal/cli/a.go", bad: "package cli\nimport _ \"claviger/internal/testkit\""},
	} {
		if len(checkLayers(r.code(t, r.bad))) != 1 {
			t.Errorf("%s: not found", r.name)
		}
	}
}

// apart lists who must not know whom, through any number of steps. The first
// column runs where the customer's root of trust is not.
var apart = []struct{ who, from []string }{
	{
		who: []string{"envelope", "client", "internal/transport", "internal/relay", "cmd/claviger-relay",
			"internal/gateway/k8skms", "internal/gateway/sopskms"},
		from: []string{"internal/root", "internal/hierarchy", "internal/authority", "internal/policy", "internal/pki/ca",
			"internal/keyserver", "internal/secrets"},
	},
	{who: []string{"client", "cmd/claviger"}, from: []string{"internal/relay/natsbus"}},
	{who: []string{"internal/pki", "internal/members"}, from: []string{"internal/root", "internal/hierarchy", "internal/pki/ca"}},
}

func TestApart(t *testing.T) {
	checked := 0
	for _, a := range apart {
		for _, who := range a.who {
			if _, err := os.Stat(filepath.Join(top, who)); err != nil {
				continue // a part that this tree does not have
			}
			checked++
			for _, p := range golist(t, "-deps", "./"+who) {
				dir := strings.TrimPrefix(p.ImportPath, "claviger/")
				if slices.ContainsFunc(a.from, func(f string) bool { return within(dir, f) }) {
					t.Errorf("%s depends on %s", who, dir)
				}
			}
		}
	}
	if checked < 3 {
		t.Errorf("only %d packages were there to check", checked)
	}
}

// outside lists the modules that a package may link besides the standard
// library and the product: exactly these, so that a dependency that goes away
// is struck off as well.
var outside = map[string][]string{
	"client":          {"github.com/fxamacker/cbor/v2", "github.com/x448/float16", "golang.org/x/sys"},
	"envelope":        {"golang.org/x/sys"},
	"internal/secret": {"golang.org/x/sys"},
	"internal/kdf":    {"golang.org/x/sys"},
	"internal/clock":  {"golang.org/x/sys"},
	"internal/wire":   {"github.com/fxamacker/cbor/v2", "github.com/x448/float16"},
	// No NATS: it stands behind interfaces, in internal/relay/natsbus. Metrics bring the rest.
	"internal/relay": {
		"github.com/beorn7/perks", "github.com/cespare/xxhash/v2", "github.com/fxamacker/cbor/v2", "github.com/munnerz/goautoneg",
		"github.com/prometheus/client_golang", "github.com/prometheus/client_model", "github.com/prometheus/common",
		"github.com/prometheus/procfs", "github.com/x448/float16", "golang.org/x/sys", "google.golang.org/protobuf",
	},
}

func TestOutsideModules(t *testing.T) {
	for dir, wanted := range outside {
		if _, err := os.Stat(filepath.Join(top, dir)); err != nil {
			continue // a part that this tree does not have
		}
		var got []string
		for _, p := range golist(t, "-deps", "./"+dir) {
			if p.Module != nil && p.Module.Path != "claviger" && !slices.Contains(got, p.Module.Path) {
				got = append(got, p.Module.Path)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, wanted) {
			t.Errorf("%s links %v, want %v", dir, got, wanted)
		}
	}
}
