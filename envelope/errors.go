// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"
	"fmt"

	"claviger/envelope/internal/cobblestone"
)

var (
	// ErrFormat says that the input is not of this format, or of a version,
	// suite or flag that this package doesn't know. It depends on public bytes
	// only.
	ErrFormat = errors.New("not a ciphertext of a known format")
	// ErrVersion says that the input may be of this format, in a version or suite
	// that this package doesn't know: a newer one may. It is an ErrFormat.
	ErrVersion = fmt.Errorf("%w: it is of another version", ErrFormat)
	// ErrNoKey says that the input is well-formed, but names no key that the
	// Unwrapper has. An Unwrapper returns it, wrapped or not.
	ErrNoKey = errors.New("no key at hand opens this ciphertext")
	// ErrIntegrity says that the input was changed, cut, extended or put
	// together from parts, that the context is another one, or that a hidden
	// partition was named wrongly. It never says which.
	ErrIntegrity = errors.New("ciphertext is damaged or has another context")
	// ErrUsed says that a Sealer has sealed its one body already.
	ErrUsed = errors.New("a data key seals one body only")
)

// opened maps the one failure of the layer below to the one of this package.
func opened(err error) error {
	if errors.Is(err, cobblestone.ErrMessage) {
		return ErrIntegrity
	}
	return err
}

// sealed adds what was done to the only failure of sealing, a body over 4 PiB.
func sealed(err error) error {
	if err != nil {
		return fmt.Errorf("seal body: %w", err)
	}
	return nil
}
