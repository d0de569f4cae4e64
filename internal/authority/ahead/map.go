// SPDX-License-Identifier: Apache-2.0

package ahead

import (
	"iter"
	"runtime"
	"sync"
)

// waiting is how many items a processor, at most, are done and not yet taken: the
// memory that a slow reader costs.
const waiting = 16

// job is an item and where its result is waited for.
type job[A, B any] struct {
	a    A
	done chan<- result[B]
}

// result of an item, or why the sequence ends with it.
type result[B any] struct {
	b   B
	err error
}

// Map applies work to the items of a sequence, on as many processors as there
// are, and yields the results in the items' order. It ends with the first error,
// of the sequence or of work, after every result before it. The sequence runs in
// a goroutine of its own; when Map returns, also because the loop was left,
// nothing of it runs any more.
func Map[A, B any](in iter.Seq2[A, error], work func(A) (B, error)) iter.Seq2[B, error] {
	return func(yield func(B, error) bool) {
		processors := runtime.GOMAXPROCS(0)
		jobs := make(chan job[A, B])
		queue := make(chan (<-chan result[B]), waiting*processors)
		stop := make(chan struct{})
		var group sync.WaitGroup
		defer group.Wait()
		defer close(stop)
		group.Go(func() { feed(in, jobs, queue, stop) })
		// A worker for many items: signatures take a deep stack, which grows once.
		for range processors {
			group.Go(func() {
				for j := range jobs {
					b, err := work(j.a)
					j.done <- result[B]{b, err}
				}
			})
		}
		for next := range queue {
			r := <-next
			if !yield(r.b, r.err) || r.err != nil {
				return
			}
		}
	}
}

// feed hands the items to the workers and queues their results before they are
// there, until the sequence ends or is stopped.
func feed[A, B any](in iter.Seq2[A, error], jobs chan<- job[A, B], queue chan<- (<-chan result[B]), stop <-chan struct{}) {
	defer close(queue)
	defer close(jobs)
	for a, err := range in {
		done := make(chan result[B], 1)
		select {
		case queue <- done:
		case <-stop:
			return
		}
		if err != nil {
			done <- result[B]{err: err}
			return
		}
		jobs <- job[A, B]{a, done}
	}
}
