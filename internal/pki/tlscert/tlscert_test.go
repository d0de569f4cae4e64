// SPDX-License-Identifier: Apache-2.0

package tlscert_test

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"claviger/internal/clock"
	"claviger/internal/pki/pkitest"
	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// shake runs a handshake and returns both ends' views.
func shake(t *testing.T, server, client *tls.Config) (srv, cli tls.ConnectionState, srvErr, cliErr error) {
	t.Helper()
	// Not net.Pipe: unbuffered, two ends that send an alert wait for each other.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err != nil {
			a.Close() // or the client would wait for ever
		}
		done <- err
	}()
	cliErr = c.Handshake()
	if cliErr != nil {
		b.Close()
	}
	srvErr = <-done
	return s.ConnectionState(), c.ConnectionState(), srvErr, cliErr
}

func selfSigned(t *testing.T) (tls.Certificate, [32]byte) {
	t.Helper()
	cert, hash, err := tlscert.SelfSigned(clock.NewManual(pkitest.Now))
	if err != nil {
		t.Fatal(err)
	}
	return cert, hash
}

func TestPin(t *testing.T) {
	cert, hash := selfSigned(t)
	srv, cli, srvErr, cliErr := shake(t, tlscert.ServerConfig(cert), tlscert.ClientConfig(hash, nil))
	if srvErr != nil || cliErr != nil {
		t.Fatal(srvErr, cliErr)
	}
	if cli.Version != tls.VersionTLS13 || cli.CurveID != tls.X25519MLKEM768 {
		t.Errorf("version %x, key exchange %v", cli.Version, cli.CurveID)
	}
	if len(srv.PeerCertificates) != 0 {
		t.Error("client without identity sent a certificate")
	}
	if [32]byte(wire.KeyHash(cert.Leaf.PublicKey)) != hash {
		t.Error("hash differs from the one in messages")
	}
}

// TestPinRefuses: another key is refused, also with the same certificate text
// around it, and so is one bit of difference in the pin.
func TestPinRefuses(t *testing.T) {
	cert, hash := selfSigned(t)
	other, _ := selfSigned(t)
	_, _, _, err := shake(t, tlscert.ServerConfig(other), tlscert.ClientConfig(hash, nil))
	if !errors.Is(err, tlscert.ErrPin) {
		t.Errorf("other server: %v", err)
	}
	for _, bit := range []int{0, 255} {
		wrong := hash
		wrong[bit/8] ^= 1 << (bit % 8)
		_, _, _, err := shake(t, tlscert.ServerConfig(cert), tlscert.ClientConfig(wrong, nil))
		if !errors.Is(err, tlscert.ErrPin) {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
	if err := tlscert.ClientConfig(hash, nil).VerifyConnection(tls.ConnectionState{}); !errors.Is(err, tlscert.ErrPin) {
		t.Errorf("no certificate: %v", err)
	}
	// Who has the certificate but not the key gets nowhere.
	stolen := cert
	stolen.PrivateKey = other.PrivateKey
	if _, _, _, err := shake(t, tlscert.ServerConfig(stolen), tlscert.ClientConfig(hash, nil)); err == nil {
		t.Error("accepted a certificate without its key")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	cert, hash := selfSigned(t)
	old := tlscert.ClientConfig(hash, nil)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, _, srvErr, _ := shake(t, tlscert.ServerConfig(cert), old); srvErr == nil {
		t.Error("server accepted TLS 1.2")
	}
	server := tlscert.ServerConfig(cert)
	server.MinVersion, server.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, _, _, cliErr := shake(t, server, tlscert.ClientConfig(hash, nil)); cliErr == nil {
		t.Error("client accepted TLS 1.2")
	}
}

// TestClientCertificate: the server sees the client's whole chain, although no
// CA of it is known to TLS.
func TestClientCertificate(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	inter := root.CA(pkitest.Spec{Name: "inter"})
	leaf := inter.Leaf(pkitest.Spec{ID: "spiffe://acme.example/workload/app"}, inter)
	cert, hash := selfSigned(t)
	identity := &tls.Certificate{Certificate: leaf.Chain, PrivateKey: leaf.Key}
	srv, _, srvErr, cliErr := shake(t, tlscert.ServerConfig(cert), tlscert.ClientConfig(hash, identity))
	if srvErr != nil || cliErr != nil {
		t.Fatal(srvErr, cliErr)
	}
	if len(srv.PeerCertificates) != 2 || !srv.PeerCertificates[0].Equal(leaf.Cert) {
		t.Errorf("server saw %d certificates", len(srv.PeerCertificates))
	}
}
