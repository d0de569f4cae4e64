// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// Schema is the closed vocabulary of every policy, in Cedar's own schema
// language (design section 9). Its hash stands in the audit log beside the
// policy set, so that a decision can be replayed with the words it was made
// with.
const Schema = `// Every attribute of a principal is optional: it is there if it was proved for
// this very request, and absent otherwise. A policy asks "has" before it reads.

// Path groups workloads by name: the workload billing/api is in Path::"billing".
entity Path in [Path];

// Folder groups keys and secrets: payments/cards is in Folder::"payments".
entity Folder in [Folder];

// Workload's id is its whole SPIFFE id.
entity Workload in [Path] {
  spiffe?: String,        // the id once more, for "like"
  path?: String,          // the name below spiffe://DOMAIN/workload/, if DOMAIN is this trust domain
  attestation?: Long,     // 1 software, 2 TPM with measured files, 3 confidential computing
  digest?: String,        // SHA-256 of the executable, lower-case hex
  signer?: String,        // who signed the executable or image
  image?: String,         // container image, as algorithm:digest
  files?: Set<String>,    // SHA-256 of every executable file that was mapped
  node?: String,          // the node's attested identity
  provider?: String,      // who runs the machine
  region?: String,        // where the machine is, as its provider names it
  jurisdiction?: String,  // whose law holds there, ISO 3166-1 alpha-2
};

// Admin's id is the name that the authority log gives the key.
entity Admin {
  key?: String,           // SHA-256 of the public key, lower-case hex
};

// Endpoint's id is the name given to "endpoint add".
entity Endpoint {
  kind?: String,          // xks, kacls, dke, salesforce, vault, kes, k8s, sops, kmip
};

// Subject is whom the credential of an endpoint names; always in its Endpoint.
// Its id is "ENDPOINT:NAME", so that two endpoints never mean the same one.
entity Subject in [Endpoint] {
  kind?: String,          // as its endpoint's
  issuer?: String,        // of a token
  subject?: String,       // of a token
  email?: String,         // of a token that says it is verified
  arn?: String,           // of an AWS caller
  account?: String,       // of a cloud caller
  certificate?: String,   // SHA-256 of the certificate's public key, lower-case hex
  groups?: Set<String>,   // that a token says its subject is in
};

entity Key in [Folder] {
  algorithm?: String,     // aes256, hmac-sha256, ed25519, …
  attestation?: Long,     // the level the key demands, as for Workload
} tags String;

entity Secret in [Folder] tags String;

// Domain is the trust domain itself: what belongs to no single key.
entity Domain;

type Asked = {
  time: datetime,         // the server's clock
  partition: String,      // raw bytes; "" if none
  purpose?: String,       // data, wrap, mac, sign
  reason?: String,        // the caller's own words: proved by nobody
  route?: String,         // how the request came: direct, relay, standing, xks, …
  // What a door says of the request, as the foreign service told it: as good as
  // that service's credential.
  kmsOperation?: String,  // of AWS KMS: Encrypt, Decrypt, ReEncrypt, GenerateDataKey, …
  kmsViaService?: String, // the AWS service that asked KMS
  kmsKeyArn?: String,     // the KMS key that stands for this one
  sourceVpc?: String,     // where AWS says the request came from
  sourceVpce?: String,    // likewise, the endpoint in it
};

action "release", "encrypt", "decrypt", "sign", "verify", "wrap", "unwrap", "mac" appliesTo {
  principal: [Workload, Admin, Endpoint, Subject],
  resource: [Key],
  context: Asked,
};

action "key:create", "key:rotate", "key:retire", "export" appliesTo {
  principal: [Workload, Admin, Endpoint, Subject],
  resource: [Key],
  context: Asked,
};

action "secret:read", "secret:write" appliesTo {
  principal: [Workload, Admin, Endpoint, Subject],
  resource: [Secret],
  context: Asked,
};

action "audit:read", "state:read" appliesTo {
  principal: [Workload, Admin, Endpoint, Subject],
  resource: [Key, Secret, Domain],
  context: Asked,
};
`

// AskedClaims are the names of what a door may say of a request in
// [Context.Asked], in alphabetical order. A test holds that the schema has them.
func AskedClaims() []string {
	return []string{"kmsKeyArn", "kmsOperation", "kmsViaService", "sourceVpc", "sourceVpce"}
}

// SchemaHash is the SHA-256 of Schema.
func SchemaHash() [32]byte { return sha256.Sum256([]byte(Schema)) }

// Actions are all actions a request can name, in alphabetical order.
func Actions() []string { return slices.Clone(words().actionNames) }

// kind is the type of one attribute, as far as the schema uses types.
type kind int

const (
	kindUnknown kind = iota
	kindString
	kindLong
	kindStrings
	kindTime
)

// vocabulary is the schema in the form that requests and policies are checked
// against. Nothing writes to it after words() has built it.
type vocabulary struct {
	validator   *validate.Validator
	entities    map[cedar.EntityType]entityWords
	context     map[cedar.String]kind
	actions     map[cedar.EntityUID]actionWords
	actionNames []string
}

type entityWords struct {
	attributes map[cedar.String]kind
	parents    []cedar.EntityType
	tags       bool
}

// actionWords holds an action's bit, by which rules are sorted out before
// anything is evaluated, and what it applies to.
type actionWords struct {
	bit        uint32
	principals []cedar.EntityType
	resources  []cedar.EntityType
}

// words is the vocabulary, read from Schema once. It panics if Schema itself is
// wrong, which no input can cause.
var words = sync.OnceValue(func() *vocabulary {
	v, err := readVocabulary(Schema)
	if err != nil {
		panic("policy: the schema is broken: " + err.Error())
	}
	return v
})

func readVocabulary(text string) (*vocabulary, error) {
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(text)); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	r, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolve schema: %w", err)
	}
	v := &vocabulary{
		validator: validate.New(r, validate.WithStrict()),
		entities:  make(map[cedar.EntityType]entityWords, len(r.Entities)),
		actions:   make(map[cedar.EntityUID]actionWords, len(r.Actions)),
	}
	for name, e := range r.Entities {
		attributes, err := kinds(e.Shape)
		if err != nil {
			return nil, fmt.Errorf("entity %s: %w", name, err)
		}
		v.entities[name] = entityWords{attributes: attributes, parents: e.ParentTypes, tags: e.Tags != nil}
	}
	return v, v.readActions(r)
}

func (v *vocabulary) readActions(r *resolved.Schema) error {
	for uid := range r.Actions {
		v.actionNames = append(v.actionNames, string(uid.ID))
	}
	slices.Sort(v.actionNames)
	for uid, a := range r.Actions {
		context, err := kinds(a.AppliesTo.Context)
		if err != nil {
			return fmt.Errorf("action %s: %w", uid.ID, err)
		}
		v.context = context
		v.actions[uid] = actionWords{
			bit:        1 << slices.Index(v.actionNames, string(uid.ID)),
			principals: a.AppliesTo.Principals,
			resources:  a.AppliesTo.Resources,
		}
	}
	return nil
}

func kinds(shape resolved.RecordType) (map[cedar.String]kind, error) {
	out := make(map[cedar.String]kind, len(shape))
	for name, a := range shape {
		k := kindOf(a.Type)
		if k == kindUnknown {
			return nil, fmt.Errorf("attribute %s has a type this package can't carry", name)
		}
		out[name] = k
	}
	return out, nil
}

func kindOf(t resolved.IsType) kind {
	switch t := t.(type) {
	case resolved.StringType:
		return kindString
	case resolved.LongType:
		return kindLong
	case resolved.SetType:
		if kindOf(t.Element) == kindString {
			return kindStrings
		}
	case resolved.ExtensionType:
		if t == "datetime" {
			return kindTime
		}
	}
	return kindUnknown
}

// principalTypes are the entity types that can act.
func (v *vocabulary) principalTypes() []cedar.EntityType {
	return v.applicable(func(a actionWords) []cedar.EntityType { return a.principals })
}

// resourceTypes are the entity types that can be acted on.
func (v *vocabulary) resourceTypes() []cedar.EntityType {
	return v.applicable(func(a actionWords) []cedar.EntityType { return a.resources })
}

func (v *vocabulary) applicable(of func(actionWords) []cedar.EntityType) []cedar.EntityType {
	var out []cedar.EntityType
	for _, a := range v.actions {
		for _, t := range of(a) {
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	slices.SortFunc(out, func(a, b cedar.EntityType) int { return strings.Compare(string(a), string(b)) })
	return out
}

func actionUID(name string) cedar.EntityUID {
	return cedar.NewEntityUID("Action", cedar.String(name))
}
