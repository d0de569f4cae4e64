// SPDX-License-Identifier: Apache-2.0

// Package sys is what clients of Vault ask about the server itself: health, seal,
// leader, mounts, login methods, capabilities.
//
//   - [New] and [Sys.Routes] are the paths; [Mounted] is what it tells of a mount.
//   - [Sealed] answers health and seal status while the server is sealed, when no
//     handler runs.
//
// # What it deliberately does not do
//
// It changes nothing: mounts and logins are the endpoint's options, which people
// sign. It names no cluster, and no server.
//
// # Threats
//
// Health, seal status and leader need no token: they say that a server is there,
// whether it is sealed, and the version of the API that it speaks, nothing of keys.
package sys

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"claviger/internal/gateway"
	"claviger/internal/gateway/vaultapi/call"
)

// Version is the version of Vault whose API this is: clients ask whether they may use
// what came with some version.
const Version = "1.14.0+claviger"

// Mounted is a mount.
type Mounted struct {
	Path    string            // without slashes around it
	Type    string            // transit, kv
	Options map[string]string // nil: none
	// Capabilities are those of a caller for a path below the mount, nil for none.
	Capabilities func(ctx context.Context, c *call.Call, path string) ([]string, error)
}

// Sys answers for one endpoint.
type Sys struct {
	site   gateway.Site
	mounts []Mounted
	logins []string // methods
	ttl    [2]time.Duration

	mu      sync.Mutex
	healthy error
	asked   time.Duration
	known   bool
}

// Options of a Sys.
type Options struct {
	Mounts      []Mounted
	Logins      []string      // methods of login
	TTL, MaxTTL time.Duration // of tokens
}

// New returns the answers of an endpoint.
func New(site gateway.Site, o Options) *Sys {
	return &Sys{site: site, mounts: o.Mounts, logins: o.Logins, ttl: [2]time.Duration{o.TTL, o.MaxTTL}}
}

// Routes are all that sys answers.
func (s *Sys) Routes() []call.Route {
	read := func(name, path string, h func(context.Context, *call.Call) (*call.Reply, error)) call.Route {
		return call.Route{Name: "sys-" + name, Op: call.Read, Path: "/sys/" + path, Handle: h}
	}
	open := func(r call.Route) call.Route { r.Open = true; return r }
	return []call.Route{
		open(read("health", "health", s.health)),
		open(read("seal-status", "seal-status", s.sealStatus)),
		open(read("leader", "leader", s.leader)),
		open(read("init", "init", s.initialized)),
		read("mounts", "mounts", s.list),
		read("mount", "mounts/{path...}", s.mount),
		{Name: "sys-mount-write", Op: call.Write, Path: "/sys/mounts/{path...}", Handle: fixed},
		read("auth", "auth", s.auth),
		read("ui-mounts", "internal/ui/mounts", s.ui),
		read("ui-mount", "internal/ui/mounts/{path...}", s.uiMount),
		{Name: "sys-capabilities-self", Op: call.Write, Path: "/sys/capabilities-self", Handle: s.capabilities},
	}
}

// healthBody is what health says.
func healthBody(sealed bool, now time.Time) map[string]any {
	return map[string]any{
		"initialized": true, "sealed": sealed, "standby": false, "performance_standby": false,
		"replication_performance_mode": "disabled", "replication_dr_mode": "disabled", "server_time_utc": now.Unix(),
		"version": Version, "cluster_name": "claviger", "cluster_id": "",
	}
}

func sealBody(sealed bool) map[string]any {
	return map[string]any{
		"type": "shamir", "initialized": true, "sealed": sealed, "t": 1, "n": 1, "progress": 0, "nonce": "", "version": Version,
		"build_date": "", "migration": false, "cluster_name": "claviger", "cluster_id": "", "recovery_seal": false, "storage_type": "claviger",
	}
}

// status is a health status: a caller may choose its own.
func status(r *http.Request, name string, usual int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil && n >= 200 && n < 600 {
		return n
	}
	return usual
}

// healthEvery is how long an answer about health is kept.
const healthEvery = 5 * time.Second

func (s *Sys) health(ctx context.Context, c *call.Call) (*call.Reply, error) {
	if err := s.well(ctx); err != nil {
		return nil, err
	}
	return &call.Reply{Status: status(c.Request.Request, "activecode", http.StatusOK), Bare: healthBody(false, s.site.Clock.Now())}, nil
}

// well asks whether requests are answered, not for each of those who ask.
func (s *Sys) well(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.site.Clock.Boot(); !s.known || now-s.asked > healthEvery {
		s.healthy, s.asked, s.known = s.site.Health(ctx), now, true
	}
	return s.healthy
}

func (s *Sys) sealStatus(context.Context, *call.Call) (*call.Reply, error) {
	return &call.Reply{Bare: sealBody(false)}, nil
}

func (s *Sys) leader(context.Context, *call.Call) (*call.Reply, error) {
	return &call.Reply{Bare: map[string]any{
		"ha_enabled": false, "is_self": true, "leader_address": "", "leader_cluster_address": "", "performance_standby": false,
	}}, nil
}

func (s *Sys) initialized(context.Context, *call.Call) (*call.Reply, error) {
	return &call.Reply{Bare: map[string]any{"initialized": true}}, nil
}

// Sealed answers what a sealed server still says; nil: nothing.
func Sealed(r *http.Request, now time.Time) *gateway.Response {
	var reply call.Reply
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return nil
	case strings.HasSuffix(r.URL.Path, "/v1/sys/health"):
		reply = call.Reply{Status: status(r, "sealedcode", http.StatusServiceUnavailable), Bare: healthBody(true, now)}
	case strings.HasSuffix(r.URL.Path, "/v1/sys/seal-status"):
		reply = call.Reply{Status: http.StatusOK, Bare: sealBody(true)}
	default:
		return nil
	}
	a, err := reply.Response()
	if err != nil {
		return nil
	}
	return a
}

// describe is what Vault says of a mount.
func (s *Sys) describe(m Mounted) map[string]any {
	return map[string]any{
		"type": m.Type, "description": "", "accessor": m.Type + "_" + m.Path, "local": false, "seal_wrap": false,
		"external_entropy_access": false, "options": m.Options, "uuid": "", "running_plugin_version": "", "plugin_version": "",
		"config": map[string]any{
			"default_lease_ttl": int64(s.ttl[0] / time.Second), "max_lease_ttl": int64(s.ttl[1] / time.Second), "force_no_cache": false,
		},
	}
}

func (s *Sys) describeAll() map[string]any {
	all := map[string]any{}
	for _, m := range s.mounts {
		all[m.Path+"/"] = s.describe(m)
	}
	return all
}

func (s *Sys) describeLogins() map[string]any {
	all := map[string]any{}
	for _, l := range s.logins {
		all[l+"/"] = s.describe(Mounted{Path: l, Type: l})
	}
	return all
}

func (s *Sys) list(context.Context, *call.Call) (*call.Reply, error) {
	all := s.describeAll()
	return &call.Reply{Data: all, Top: all}, nil
}

func (s *Sys) auth(context.Context, *call.Call) (*call.Reply, error) {
	all := s.describeLogins()
	return &call.Reply{Data: all, Top: all}, nil
}

// mount tells of one mount, or how it is tuned.
func (s *Sys) mount(_ context.Context, c *call.Call) (*call.Reply, error) {
	path := strings.TrimSuffix(c.PathValue("path"), "/")
	path, tune := strings.CutSuffix(path, "/tune")
	m := s.named(path)
	if m == nil {
		return nil, call.Bad("No secret engine mount at that path")
	}
	if !tune {
		d := s.describe(*m)
		return &call.Reply{Data: d, Top: d}, nil
	}
	d := map[string]any{
		"default_lease_ttl": int64(s.ttl[0] / time.Second), "max_lease_ttl": int64(s.ttl[1] / time.Second), "force_no_cache": false, "description": "",
	}
	if m.Options != nil {
		d["options"] = m.Options
	}
	return &call.Reply{Data: d, Top: d}, nil
}

// fixed refuses to make or tune mounts.
func fixed(context.Context, *call.Call) (*call.Reply, error) {
	return nil, call.Bad("mounts are the endpoint's settings: claviger endpoint add vault NAME --set transit.mount=… --set kv.PATH=KEY")
}

// named finds a mount by its whole path.
func (s *Sys) named(path string) *Mounted {
	if i := slices.IndexFunc(s.mounts, func(m Mounted) bool { return m.Path == path }); i >= 0 {
		return &s.mounts[i]
	}
	return nil
}

// over finds the mount that a path lies in.
func (s *Sys) over(path string) *Mounted {
	for i, m := range s.mounts {
		if path == m.Path || strings.HasPrefix(path, m.Path+"/") {
			return &s.mounts[i]
		}
	}
	return nil
}

func (s *Sys) ui(context.Context, *call.Call) (*call.Reply, error) {
	return &call.Reply{Data: map[string]any{"secret": s.describeAll(), "auth": s.describeLogins()}}, nil
}

// uiMount is what the command line asks before anything about a secret.
func (s *Sys) uiMount(_ context.Context, c *call.Call) (*call.Reply, error) {
	m := s.over(c.PathValue("path"))
	if m == nil {
		// As Vault says of what a token may not see.
		return nil, &call.Error{Status: http.StatusForbidden, Texts: []string{"preflight capability check returned 403, please ensure client's policies grant access to path \"" + short(c.PathValue("path")) + "/\""}}
	}
	d := s.describe(*m)
	d["path"] = m.Path + "/"
	return &call.Reply{Data: d}, nil
}

// short fits a path into an error.
func short(path string) string {
	out := []byte(path[:min(len(path), 64)])
	for i, b := range out {
		if b < 0x21 || b > 0x7e || b == '"' || b == '\\' {
			out[i] = '?'
		}
	}
	return string(out)
}

// maxPaths is how many paths one question about capabilities names: each may ask
// policy.
const maxPaths = 16

func (s *Sys) capabilities(ctx context.Context, c *call.Call) (*call.Reply, error) {
	var body struct {
		Path  string   `json:"path"`
		Paths []string `json:"paths"`
	}
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	paths := body.Paths
	if body.Path != "" {
		paths = append(paths, body.Path)
	}
	switch {
	case len(paths) == 0:
		return nil, call.Bad("paths must be supplied")
	case len(paths) > maxPaths:
		return nil, call.Badf("at most %d paths are judged at a time", maxPaths)
	}
	data := map[string]any{}
	for _, path := range paths {
		can, err := s.can(ctx, c, strings.TrimPrefix(path, "/"))
		if err != nil {
			return nil, err
		}
		if len(can) == 0 {
			can = []string{"deny"}
		}
		data[path] = can
	}
	if len(paths) == 1 {
		data["capabilities"] = data[paths[0]]
	}
	return &call.Reply{Data: data, Top: data}, nil
}

func (s *Sys) can(ctx context.Context, c *call.Call, path string) ([]string, error) {
	switch path {
	case "auth/token/lookup-self", "sys/internal/ui/mounts", "sys/mounts":
		return []string{"read"}, nil
	case "auth/token/renew-self", "auth/token/revoke-self", "auth/token/create", "sys/capabilities-self":
		return []string{"update"}, nil
	}
	m := s.over(path)
	if m == nil || m.Capabilities == nil {
		return nil, nil
	}
	return m.Capabilities(ctx, c, path)
}
