// SPDX-License-Identifier: Apache-2.0

package api

import "net/http"

// RouteInfo is a row of the route table.
type RouteInfo struct {
	Method, Path, Who string
	Body              int64
}

// Routes lists the route table.
func Routes() []RouteInfo {
	var out []RouteInfo
	for _, r := range routes() {
		out = append(out, RouteInfo{r.method, r.path, [...]string{"anyone", "workload", "admin", "admin or recovery"}[r.who], r.body})
	}
	return out
}

// MetricNames lists the server's own metrics.
func (s *Server) MetricNames() map[string]bool {
	out := map[string]bool{}
	families, _ := s.metrics.registry.Gather()
	for _, f := range families {
		out[f.GetName()] = true
	}
	return out
}

// MaxFollowers is how many may follow at once.
const MaxFollowers = maxFollowers

// FillFollows takes every place for followers.
func (s *Server) FillFollows() {
	for range maxFollowers {
		s.follows <- struct{}{}
	}
}

// SendFrames sends frames as to a follower until one isn't taken in time.
func SendFrames(w http.ResponseWriter, message []byte) {
	f := follower{call: &call{w: w}}
	for f.send(message) {
	}
}

// HTTP is the API without TLS, for connections that are no sockets.
func (s *Server) HTTP() *http.Server { return s.apiServer() }

// TroubleOf says what a sender is told of an error.
var TroubleOf = troubleOf
