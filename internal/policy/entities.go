// SPDX-License-Identifier: Apache-2.0

package policy

import "github.com/cedar-policy/cedar-go"

// entities answers Cedar's questions about entities for one request, without
// building what nobody asks for: folders and paths follow from their names, and
// the two records are made when a policy first reads one. It serves one
// evaluation at a time.
type entities struct {
	principal, resource entity
}

// entity is the principal or the resource of a request.
type entity struct {
	uid        cedar.EntityUID
	parent     cedar.EntityUID // zero if none
	attributes cedar.RecordMap
	tags       map[string]string
	built      *cedar.Entity
}

// Get implements cedar.EntityGetter.
func (e *entities) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	switch {
	case uid == e.principal.uid:
		return e.principal.build(), true
	case uid == e.resource.uid:
		return e.resource.build(), true
	case uid.Type == "Folder" || uid.Type == "Path":
		out := cedar.Entity{UID: uid}
		if up, ok := parent(string(uid.ID)); ok {
			out.Parents = cedar.NewEntityUIDSet(cedar.NewEntityUID(uid.Type, cedar.String(up)))
		}
		return out, true
	}
	return cedar.Entity{}, false
}

// lieIn puts the entity into the folder (or path) that its name says and
// appends everything above it to keys, the nearest first.
func (e *entity) lieIn(keys []cedar.EntityUID, t cedar.EntityType, name string) []cedar.EntityUID {
	up, ok := parent(name)
	if ok {
		e.parent = cedar.NewEntityUID(t, cedar.String(up))
	}
	for ; ok; up, ok = parent(up) {
		keys = append(keys, cedar.NewEntityUID(t, cedar.String(up)))
	}
	return keys
}

func (e *entity) build() cedar.Entity {
	if e.built != nil {
		return *e.built
	}
	out := cedar.Entity{UID: e.uid, Attributes: cedar.NewRecord(e.attributes)}
	if e.parent != (cedar.EntityUID{}) {
		out.Parents = cedar.NewEntityUIDSet(e.parent)
	}
	if len(e.tags) > 0 {
		tags := make(cedar.RecordMap, len(e.tags))
		for k, v := range e.tags {
			tags[cedar.String(k)] = cedar.String(v)
		}
		out.Tags = cedar.NewRecord(tags)
	}
	e.built = &out
	return out
}
