// SPDX-License-Identifier: Apache-2.0

package natstest

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// Unsynced runs a server on a directory until stop is called, which writes what is
// left: for filling the directory of an embedded server, which syncs each write.
func Unsynced(tb testing.TB, dir string, bytes int64) (url string, stop func()) {
	tb.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "claviger-relay", Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, JetStreamMaxStore: bytes,
	})
	if err != nil {
		tb.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(patience) {
		tb.Fatal("NATS doesn't start")
	}
	return s.ClientURL(), func() { s.Shutdown(); s.WaitForShutdown() }
}
