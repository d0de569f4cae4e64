// SPDX-License-Identifier: Apache-2.0

package asked

import (
	"fmt"
	"strings"

	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/policy"
)

// About is what policy is asked about an operation on a name, and the key whose state
// decides besides: for secret:read and secret:write a secret, which need not be there,
// and the key that backs it; else the key of the name. Errors: admin.ErrNotFound.
func About(st *authority.State, operation, name string) (policy.Resource, *authority.Key, error) {
	if !strings.HasPrefix(operation, "secret:") {
		key, err := admin.KeyNamed(st, name)
		if err != nil {
			return policy.Resource{}, nil, err
		}
		return admin.UseRequest(policy.Principal{}, operation, key).Resource, key, nil
	}
	key := backing(st, name)
	if key == nil || !policy.ValidSecret(name) {
		return policy.Resource{}, nil, fmt.Errorf("%w: no key backs a secret named %.200q; its name begins with that of a key, as secrets/app/db with secrets/app", admin.ErrNotFound, name)
	}
	return policy.Resource{Type: "Secret", Name: name}, key, nil
}

// backing is the key that backs a secret: the one it was written under, or that of the
// nearest folder.
func backing(st *authority.State, name string) *authority.Key {
	if row := st.Secrets().Get(name); row != nil {
		return st.Key(row.Key)
	}
	for folder, more := name, true; more; folder, _, more = cutLast(folder) {
		if k := st.KeyNamed(folder); k != nil {
			return k
		}
	}
	return nil
}

// cutLast takes the last part off a path.
func cutLast(path string) (folder, part string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}
