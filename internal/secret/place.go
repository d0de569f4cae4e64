// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"
)

// Placing: the standard library's AES-GCM and SHA-512 keep what they compute
// from a key in a struct on the Go heap, where a dump finds it. Such a struct
// can be moved byte by byte into protected memory if, and only if, it contains
// no pointers: then it doesn't refer to itself, and the garbage collector,
// which doesn't look at our memory, has nothing to miss. The layout isn't ours,
// so flat checks it at start-up, SelfTest checks that the moved object computes
// the same, and everything has a way to work without placing.

// errNotFlat means the object has pointers, as under another crypto backend.
var errNotFlat = errors.New("object holds pointers")

// flatStruct returns the struct type behind obj, a pointer to a struct
// without pointers of at most limit bytes.
func flatStruct(obj any, limit int) (reflect.Type, error) {
	t := reflect.TypeOf(obj)
	if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v is not a pointer to a struct: %w", t, errNotFlat)
	}
	t = t.Elem()
	if !flat(t) {
		return nil, fmt.Errorf("%v: %w", t, errNotFlat)
	}
	if t.Size() == 0 || t.Size() > uintptr(limit) {
		return nil, fmt.Errorf("%v has %d bytes, at most %d fit", t, t.Size(), limit)
	}
	return t, nil
}

// flat reports whether values of type t hold no pointer of any kind.
func flat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return true
	case reflect.Array:
		return flat(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !flat(t.Field(i).Type) {
				return false
			}
		}
		return true
	default: // uintptr too: it may be an address
		return false
	}
}

// contents views the struct that obj, checked by flatStruct, points to.
func contents(obj any) []byte {
	v := reflect.ValueOf(obj)
	return unsafe.Slice((*byte)(v.UnsafePointer()), v.Type().Elem().Size())
}

// place moves the struct behind obj, checked by flatStruct, to the start of
// dst and wipes the original. The result is a pointer of the same type to the
// new place; the caller keeps the block's owner reachable while it uses it.
func place(obj any, dst *block) any {
	move(dst, obj)
	return reflect.NewAt(reflect.TypeOf(obj).Elem(), dst.addr).Interface()
}

// move is place for a block that holds, or held, an object of the same type.
func move(dst *block, obj any) {
	src := contents(obj)
	copyBytes(dst.bytes(), src)
	Wipe(src)
}
