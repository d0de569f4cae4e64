// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"

	"claviger/internal/wire"
)

// Request is the question put to a policy set: may Principal do Action with
// Resource, asked in this Context?
type Request struct {
	Principal Principal
	Action    string // one of Actions()
	Resource  Resource
	Context   Context
}

// Principal is who asks. Build it with [Workload], [Admin], [Endpoint] or
// [Subject], then add what was proved with [Principal.Prove].
type Principal struct {
	Type string // "Workload", "Admin", "Endpoint" or "Subject"
	ID   string // see Schema for the form of each type's id
	// Attributes holds proved claims only, under the names in Schema, as string,
	// int, int64, uint64, []string (or []any of strings) or time.Time. What
	// wasn't proved is absent. Security: an empty string or an empty set is
	// refused as an error, because `["a"].containsAll(empty)` is true in Cedar.
	Attributes map[string]any
	// Parents is the Endpoint of a Subject and nothing else; paths and folders
	// follow from names.
	Parents []Ref
}

// Ref names an entity.
type Ref struct{ Type, ID string }

// Resource is what the request is about.
type Resource struct {
	Type       string            // "Key", "Secret" or "Domain"
	Name       string            // path name; its folders follow from it
	Tags       map[string]string // as people signed them
	Attributes map[string]any    // as Principal.Attributes
}

// Context is what is known about the request itself. Empty strings count as
// absent, except Partition: the empty partition is a partition.
type Context struct {
	Time      time.Time // the server's clock; must not be zero
	Purpose   string    // data, wrap, mac, sign
	Partition string    // raw bytes, never normalised
	Reason    string    // the caller's own words: nobody proved them
	Route     string    // direct, relay, standing, or the door's name
	// Asked is what a door says of the request, under the names of AskedClaims.
	// What the foreign service didn't say is absent, never empty.
	Asked map[string]string
}

// Workload is the principal of a SPIFFE id. Its path attribute is set only if
// the id lies in the trust domain named domain, so that a policy on paths can't
// be met by a name that an outside CA gives.
func Workload(id, domain string) Principal {
	p := Principal{Type: "Workload", ID: id, Attributes: map[string]any{"spiffe": id}}
	if path, ok := strings.CutPrefix(id, "spiffe://"+domain+"/workload/"); ok {
		p.Attributes["path"] = path
	}
	return p
}

// Admin is the principal of the authority key that the log calls name. key is
// the SHA-256 of the public key in lower-case hex, or empty.
func Admin(name, key string) Principal {
	p := Principal{Type: "Admin", ID: name}
	if key != "" {
		p.Attributes = map[string]any{"key": key}
	}
	return p
}

// Endpoint is the principal of an endpoint that acts for itself.
func Endpoint(name, kind string) Principal {
	return Principal{Type: "Endpoint", ID: name, Attributes: map[string]any{"kind": kind}}
}

// Subject is the principal that a credential of an endpoint names: an ARN, an
// e-mail address, a token's subject, a certificate key.
func Subject(endpoint, name, kind string) Principal {
	return Principal{
		Type: "Subject", ID: endpoint + ":" + name,
		Attributes: map[string]any{"kind": kind},
		Parents:    []Ref{{Type: "Endpoint", ID: endpoint}},
	}
}

// Prove returns p with further proved claims. A claim that is already there
// with another value stays as it was and the request is refused later: two
// sources that disagree prove nothing.
func (p Principal) Prove(claims map[string]any) Principal {
	out := maps.Clone(p.Attributes)
	if out == nil {
		out = make(map[string]any, len(claims))
	}
	for name, v := range claims {
		if old, ok := out[name]; ok && fmt.Sprint(old) != fmt.Sprint(v) {
			out[name] = contradiction{}
			continue
		}
		out[name] = v
	}
	p.Attributes = out
	return p
}

// contradiction stands for a claim that two sources give differently. It has no
// Cedar form, so the request is an error.
type contradiction struct{}

// facts is a request in Cedar's form, with the keys under which the index holds
// the rules that can apply to it.
type facts struct {
	request   cedar.Request
	entities  *entities
	action    uint32
	principal []cedar.EntityUID // itself, its path word, everything it is in
	resource  []cedar.EntityUID // itself, everything it is in
}

// facts checks the request against the schema. Its errors mean that a caller of
// this package is wrong, not that somebody is refused.
func (r Request) facts() (*facts, error) {
	v := words()
	uid := actionUID(r.Action)
	action, ok := v.actions[uid]
	if !ok {
		return nil, fmt.Errorf("no action is called %q", r.Action)
	}
	f := &facts{action: action.bit, entities: &entities{}}
	if err := f.setPrincipal(v, action, r.Principal); err != nil {
		return nil, fmt.Errorf("principal: %w", err)
	}
	if err := f.setResource(v, action, r.Resource); err != nil {
		return nil, fmt.Errorf("resource: %w", err)
	}
	context, err := r.Context.record()
	if err != nil {
		return nil, fmt.Errorf("context: %w", err)
	}
	f.request = cedar.Request{
		Principal: f.entities.principal.uid, Action: uid, Resource: f.entities.resource.uid, Context: context,
	}
	return f, nil
}

func (f *facts) setPrincipal(v *vocabulary, a actionWords, p Principal) error {
	t := cedar.EntityType(p.Type)
	if !slices.Contains(a.principals, t) {
		return fmt.Errorf("type %q can't do this", p.Type)
	}
	if problem := checkID(t, p.ID); problem != "" {
		return fmt.Errorf("%s %q: %s", p.Type, p.ID, problem)
	}
	attributes, err := record(v.entities[t].attributes, p.Attributes)
	if err != nil {
		return err
	}
	e := &f.entities.principal
	e.uid = cedar.NewEntityUID(t, cedar.String(p.ID))
	e.attributes = attributes
	f.principal = append(f.principal, e.uid)
	if path, ok := attributes["path"].(cedar.String); ok {
		if !wire.ValidPath(string(path)) {
			return fmt.Errorf("path: %s", checkID("Path", string(path)))
		}
		f.principal = append(f.principal, pathWord(path))
		f.principal = e.lieIn(f.principal, "Path", string(path))
	}
	return f.setParents(v, p)
}

// setParents takes a Subject's Endpoint and refuses any other parent.
func (f *facts) setParents(v *vocabulary, p Principal) error {
	e := &f.entities.principal
	if p.Type != "Subject" {
		if len(p.Parents) != 0 {
			return fmt.Errorf("%s has no parents but its path", p.Type)
		}
		return nil
	}
	if len(p.Parents) != 1 || p.Parents[0].Type != "Endpoint" || !strings.HasPrefix(p.ID, p.Parents[0].ID+":") {
		return fmt.Errorf("subject %q has to be in its own endpoint and nothing else", p.ID)
	}
	e.parent = cedar.NewEntityUID("Endpoint", cedar.String(p.Parents[0].ID))
	f.principal = append(f.principal, e.parent)
	return nil
}

func (f *facts) setResource(v *vocabulary, a actionWords, r Resource) error {
	t := cedar.EntityType(r.Type)
	if !slices.Contains(a.resources, t) {
		return fmt.Errorf("this can't be done with type %q", r.Type)
	}
	if problem := checkID(t, r.Name); problem != "" {
		return fmt.Errorf("%s %q: %s", r.Type, r.Name, problem)
	}
	attributes, err := record(v.entities[t].attributes, r.Attributes)
	if err != nil {
		return err
	}
	if err := checkTags(v.entities[t].tags, r.Tags); err != nil {
		return err
	}
	e := &f.entities.resource
	e.uid = cedar.NewEntityUID(t, cedar.String(r.Name))
	e.attributes = attributes
	e.tags = r.Tags
	f.resource = append(f.resource, e.uid)
	if t == "Key" || t == "Secret" {
		f.resource = e.lieIn(f.resource, "Folder", r.Name)
	}
	return nil
}

func checkTags(allowed bool, tags map[string]string) error {
	if len(tags) > 0 && !allowed || len(tags) > maxTags {
		return fmt.Errorf("%d tags are too many here", len(tags))
	}
	for k, v := range tags {
		if k == "" || len(k)+len(v) > maxValueBytes {
			return fmt.Errorf("tag %q is empty or too long", k)
		}
	}
	return nil
}

// Check refuses a context that no request may have. Its errors mean that a caller
// of this package is wrong, as those of facts do.
func (c Context) Check() error {
	if c.Time.IsZero() {
		return fmt.Errorf("time is missing")
	}
	for _, s := range [...]string{c.Purpose, c.Reason, c.Route} {
		if len(s) > maxValueBytes {
			return fmt.Errorf("a text is longer than %d bytes", maxValueBytes)
		}
	}
	if len(c.Partition) > wire.MaxPartition {
		return fmt.Errorf("partition is longer than %d bytes", wire.MaxPartition)
	}
	for name, s := range c.Asked {
		if !slices.Contains(AskedClaims(), name) {
			return fmt.Errorf("no claim of a request is called %q", name)
		}
		if s == "" || len(s) > maxValueBytes || !utf8.ValidString(s) {
			return fmt.Errorf("%s is empty, longer than %d bytes or no text", name, maxValueBytes)
		}
	}
	return nil
}

// record is the context in Cedar's form, which every field but the texts that are
// absent has.
func (c Context) record() (cedar.Record, error) {
	if err := c.Check(); err != nil {
		return cedar.Record{}, err
	}
	m := make(cedar.RecordMap, 5+len(c.Asked))
	m["time"] = cedar.NewDatetime(c.Time)
	// Security: a partition that isn't UTF-8 stays as it is. Left out, it would
	// slip past a forbid that asks for it.
	m["partition"] = cedar.String(c.Partition)
	if c.Purpose != "" {
		m["purpose"] = cedar.String(c.Purpose)
	}
	if c.Reason != "" {
		m["reason"] = cedar.String(c.Reason)
	}
	if c.Route != "" {
		m["route"] = cedar.String(c.Route)
	}
	for name, s := range c.Asked {
		m[cedar.String(name)] = cedar.String(s)
	}
	return cedar.NewRecord(m), nil
}

// record turns Go values into Cedar values of exactly the schema's types.
func record(shape map[cedar.String]kind, in map[string]any) (cedar.RecordMap, error) {
	out := make(cedar.RecordMap, len(in)+1)
	for name, value := range in {
		k, ok := shape[cedar.String(name)]
		if !ok {
			return nil, fmt.Errorf("no attribute is called %q", name)
		}
		v, err := convert(k, value)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		out[cedar.String(name)] = v
	}
	return out, nil
}

func convert(k kind, value any) (cedar.Value, error) {
	switch v := value.(type) {
	case string:
		if k == kindString {
			return stringValue(v)
		}
	case int:
		return convert(k, int64(v))
	case int64:
		if k == kindLong {
			return cedar.Long(v), nil
		}
	case uint64:
		if k == kindLong && v <= 1<<63-1 {
			return cedar.Long(v), nil
		}
	case []string:
		if k == kindStrings {
			return setValue(v)
		}
	case []any:
		return convertList(k, v)
	case time.Time:
		if k == kindTime {
			return timeValue(v)
		}
	}
	return nil, fmt.Errorf("value of type %T doesn't fit", value)
}

// convertList takes the form that a set has after it was stored and read back.
func convertList(k kind, list []any) (cedar.Value, error) {
	out := make([]string, len(list))
	for i, item := range list {
		s, ok := item.(string)
		if !ok {
			return nil, fmt.Errorf("item of type %T doesn't fit", item)
		}
		out[i] = s
	}
	return convert(k, out)
}

func stringValue(s string) (cedar.Value, error) {
	if s == "" {
		return nil, fmt.Errorf("it is empty; what wasn't proved is left out")
	}
	if len(s) > maxValueBytes {
		return nil, fmt.Errorf("it is longer than %d bytes", maxValueBytes)
	}
	return cedar.String(s), nil
}

func timeValue(t time.Time) (cedar.Value, error) {
	if t.IsZero() {
		return nil, fmt.Errorf("it is missing")
	}
	return cedar.NewDatetime(t), nil
}

func setValue(items []string) (cedar.Value, error) {
	if len(items) == 0 {
		return nil, fmt.Errorf("the set is empty; what wasn't measured is left out")
	}
	if len(items) > maxSetItems {
		return nil, fmt.Errorf("the set has more than %d items", maxSetItems)
	}
	values := make([]cedar.Value, len(items))
	for i, s := range items {
		v, err := stringValue(s)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return cedar.NewSet(values...), nil
}
