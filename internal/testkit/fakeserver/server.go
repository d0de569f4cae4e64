// SPDX-License-Identifier: Apache-2.0

package fakeserver

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"sync"
	"time"

	"claviger/internal/members"
	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// Lies are what a server does wrong, or what a carrier does to its messages. Nil
// means honest. Those that take a struct see it before it is signed.
type Lies struct {
	Descriptor   func(*wire.Descriptor)
	Introduction func(*wire.Introduction)
	Grant        func(*wire.Grant)
	Release      func(*wire.Release) // after the grant is signed
	Statement    func(*wire.Statement)
	Enrolled     func(*wire.Enrolled)
	Message      func([]byte) []byte // the sealed answer
	Signer       crypto.Signer       // signs in place of the server's key
	Type         string              // type string to sign grants as
	SealTo       []byte              // HPKE key to seal to in place of the client's
}

// Server is one key server. Change Lie while nobody asks.
type Server struct {
	Lie  Lies
	Name string

	domain *Domain
	signer ed25519.PrivateKey
	cert   tls.Certificate
	tls    wire.Hash

	mu         sync.Mutex
	refuse     error // nothing is answered
	hpke       *wire.Key
	descriptor []byte
	issued     time.Time
	requests   []*wire.Request
	acks       []*wire.Ack
	standing   []Standing
	statements int
	size       uint64 // of the audit log
}

// Server returns a server: the founding one first, then such that join.
func (d *Domain) Server(name string) *Server {
	d.tb.Helper()
	s := &Server{Name: name, domain: d, signer: newKey(), size: 1}
	d.mu.Lock()
	founder := !d.founded
	d.founded = true
	d.mu.Unlock()
	if founder {
		s.signer = d.first
	} else {
		d.Change(members.KindJoin, d.join(name, s.signer), s.signer)
	}
	cert, hash, err := tlscert.SelfSigned(d.clock)
	d.must(err)
	s.cert, s.tls = cert, hash
	return s
}

// Refuse has the server answer nothing but err, until it is nil; also while somebody
// asks.
func (s *Server) Refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

// Refusing is what Refuse was told.
func (s *Server) Refusing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuse
}

// ID is the server's id.
func (s *Server) ID() wire.ServerID { return wire.ServerIDOf(s.signer.Public()) }

// TLS is the hash of the server's present TLS key.
func (s *Server) TLS() wire.Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tls
}

// Key is the server's signing key.
func (s *Server) Key() ed25519.PrivateKey { return s.signer }

// Restart makes a new descriptor with new keys, as a start does.
func (s *Server) Restart() {
	cert, hash, err := tlscert.SelfSigned(s.domain.clock)
	s.domain.must(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cert, s.tls, s.descriptor = cert, hash, nil
}

func (s *Server) certificate() tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cert
}

// Requests are the requests for keys that were read so far.
func (s *Server) Requests() []*wire.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*wire.Request(nil), s.requests...)
}

// Acks are the acknowledgements that were read so far.
func (s *Server) Acks() []*wire.Ack {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*wire.Ack(nil), s.acks...)
}

// Statements is how many statements were asked for.
func (s *Server) Statements() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statements
}

// signing is the key that signs now.
func (s *Server) signing() crypto.Signer {
	if s.Lie.Signer != nil {
		return s.Lie.Signer
	}
	return s.signer
}

// current returns the descriptor, a new one each day.
func (s *Server) current() ([]byte, *wire.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.domain.clock.Now()
	if s.descriptor != nil && now.Sub(s.issued) < 24*time.Hour && s.Lie.Descriptor == nil {
		return s.descriptor, s.hpke
	}
	s.hpke, s.issued = wire.NewKey(), now
	d := wire.Descriptor{
		Type: wire.TypeDescriptor, Domain: s.domain.ID(), Server: s.ID(), HPKE: s.hpke.Public(), TLS: s.tls,
		Issued: now.UnixMilli(), NotAfter: now.Add(24 * time.Hour).UnixMilli(),
	}
	if s.Lie.Descriptor != nil {
		s.Lie.Descriptor(&d)
	}
	signed, err := wire.Sign(wire.TypeDescriptor, wire.Marshal(d), s.signing())
	if err != nil {
		s.domain.tb.Error(err)
	}
	s.descriptor = signed
	return s.descriptor, s.hpke
}

// Introduction answers GET /v1/introduction.
func (s *Server) Introduction(context.Context) ([]byte, error) {
	if err := s.Refusing(); err != nil {
		return nil, err
	}
	descriptor, _ := s.current()
	in := wire.Introduction{Descriptor: descriptor, Members: s.domain.Members().Chain}
	if s.Lie.Introduction != nil {
		s.Lie.Introduction(&in)
	}
	return wire.Marshal(in), nil
}

// Statement answers GET /v1/statement.
func (s *Server) Statement(context.Context) ([]byte, error) {
	s.mu.Lock()
	s.statements++
	s.size++
	size := s.size
	s.mu.Unlock()
	if err := s.Refusing(); err != nil {
		return nil, err
	}
	d := s.domain
	d.mu.Lock()
	st := wire.Statement{
		Type: wire.TypeStatement, Domain: d.state.Domain, Server: s.ID(), Epoch: d.epoch, Head: d.head,
		Checkpoint: wire.Checkpoint{Log: 1, Size: size, Root: wire.Sum("tree", []byte{byte(size)})},
		Members:    d.state.Newest, Issued: d.clock.Now().UnixMilli(), Revoked: append([]wire.RevocationID(nil), d.revoked...),
	}
	d.mu.Unlock()
	if s.Lie.Statement != nil {
		s.Lie.Statement(&st)
	}
	return wire.Sign(wire.TypeStatement, wire.Marshal(st), s.signing())
}

// errOther is the fake's one refusal.
var errOther = errors.New("fake server refuses")

// Exchange answers POST /v1/exchange and /v1/enroll.
func (s *Server) Exchange(_ context.Context, sealed []byte) ([]byte, error) {
	if err := s.Refusing(); err != nil {
		return nil, err
	}
	var outer wire.Sealed
	if err := wire.Unmarshal(sealed, &outer, wire.MaxSealedSize); err != nil {
		return nil, err
	}
	descriptor, hpke := s.descriptorNow()
	hash := wire.DescriptorHash(descriptor)
	plain, err := hpke.Open(outer.Type, hash, sealed, wire.MaxSealedSize)
	if err != nil {
		return nil, err
	}
	if outer.Type == wire.TypeAck {
		return s.acknowledge(plain, hash)
	}
	signed, err := wire.ParseSigned(outer.Type, plain, wire.MaxRequest)
	if err != nil {
		return nil, err
	}
	var answer []byte
	switch outer.Type {
	case wire.TypeRequest:
		answer, err = s.release(signed, hash, wire.SealedHash(sealed))
	case wire.TypeEnroll:
		answer, err = s.enrol(signed, hash, wire.SealedHash(sealed))
	case wire.TypeRenew:
		answer, err = s.renew(signed, hash, wire.SealedHash(sealed))
	default:
		err = errOther
	}
	if err == nil && s.Lie.Message != nil {
		answer = s.Lie.Message(answer)
	}
	return answer, err
}

// descriptorNow is current without making another one under a lie.
func (s *Server) descriptorNow() ([]byte, *wire.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.descriptor != nil {
		return s.descriptor, s.hpke
	}
	return nil, wire.NewKey()
}
