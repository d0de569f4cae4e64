// SPDX-License-Identifier: Apache-2.0

package policy

// Change is a request that two policy sets answer differently.
type Change struct {
	Request       Request
	Before, After Decision
}

// Replay puts recorded requests to two sets and returns those whose answer
// differs, in their order: what `policy plan` shows. Requests that differ only in
// the deciding policy aren't listed. The facts are those of the record; what
// people or machines would prove today isn't known here.
func Replay(old, new *Set, recorded []Request) []Change {
	var out []Change
	for _, r := range recorded {
		before, after := old.Decide(r), new.Decide(r)
		if before.Allowed != after.Allowed {
			out = append(out, Change{r, before, after})
		}
	}
	return out
}

// LocksOut returns the requests that old permits and new would refuse, whether by
// a rule, by the lack of one, or because new fails to evaluate. A change for which
// it isn't empty needs people to say that they mean it.
func LocksOut(old, new *Set, recent []Request) []Request {
	var out []Request
	for _, c := range Replay(old, new, recent) {
		if c.Before.Allowed {
			out = append(out, c.Request)
		}
	}
	return out
}
