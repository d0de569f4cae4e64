// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"fmt"
)

var (
	// ErrIntegrity means that something that came from a server or relay is not
	// what an honest one sends: a chain, signature or field is wrong.
	ErrIntegrity = errors.New("a server or relay is not telling the truth")
	// ErrFork means that two signed messages give one epoch two heads. Both are
	// kept as proof. It is an ErrIntegrity.
	ErrFork = fmt.Errorf("%w: two histories of one domain", ErrIntegrity)
	// ErrRollback means that a server or relay shows a state older than one seen
	// before: behind, restored from a backup, or put back on purpose.
	ErrRollback = errors.New("older than what was seen before")
	// ErrStale means that nothing recent enough is known for the thing to count.
	ErrStale = errors.New("no recent word from a server")
	// ErrMembers means that the message is of a membership that the View has not
	// seen: introduce the server again, then show the message again.
	ErrMembers = errors.New("membership has changed")
	// ErrDemo means that a demo domain met a real profile, or the reverse.
	ErrDemo = errors.New("demo and real domains do not mix")
)

func integrity(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrIntegrity, fmt.Sprintf(format, args...))
}
