// SPDX-License-Identifier: Apache-2.0

package api

// RouteInfo is a row of the route table.
type RouteInfo struct {
	Method, Path, Who string
	Body              int64
}

// Routes lists the route table.
func Routes() []RouteInfo {
	var out []RouteInfo
	for _, r := range routes() {
		out = append(out, RouteInfo{r.method, r.path, [...]string{"anyone", "workload", "admin"}[r.who], r.body})
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
