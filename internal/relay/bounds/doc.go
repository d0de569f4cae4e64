// SPDX-License-Identifier: Apache-2.0

// Package bounds keeps what strangers can take of a server within limits: so many
// requests a second ([Rates]), so many at once ([Gate]), so many connections
// ([Listen]), each for one party, which is known by its [Place] on the network.
//
// What is remembered of a party is forgotten once it says nothing any more, so
// memory follows who is there and not who was. The package knows neither requests
// nor clocks: callers say what counts and when.
package bounds
