// SPDX-License-Identifier: Apache-2.0

package vaultapi

import (
	"fmt"
	"strings"

	"claviger/internal/gateway"
	"claviger/internal/gateway/vaultapi/auth"
	"claviger/internal/gateway/vaultapi/transit"
)

// guide says what clients of Vault have to be told.
func guide(s gateway.Site, secrets []gateway.Secret) string {
	var b strings.Builder
	fmt.Fprintf(&b, `Tell clients of Vault or OpenBao:

  VAULT_ADDR=%s            # or %s with VAULT_NAMESPACE=%s
  VAULT_CACERT=doors-ca.pem                 # unless the port has a public certificate
`, s.Base, strings.TrimSuffix(s.Base, "/"+s.Endpoint.Name), s.Endpoint.Name)
	subject := "token:NAME"
	for _, c := range secrets {
		switch c.Credential.Use {
		case auth.UseToken:
			subject = "token:" + c.Credential.Subject
			fmt.Fprintf(&b, "  VAULT_TOKEN=%s\n", c.Show)
		case auth.UseAppRole:
			subject = "approle:" + c.Credential.Subject
			fmt.Fprintf(&b, "\nLogin by approle (auth/approle/login):\n\n  role_id=%s\n  secret_id=%s\n", c.Credential.ID, c.Show)
		case auth.UseKey:
			fmt.Fprintf(&b, "\nLogins and auth/token/create make tokens under the key %s, which nobody has to be told.\n", c.Credential.ID)
		}
	}
	at, prefix := s.Option(transit.OptionMount), s.Option(transit.OptionPrefix)
	if at == "" {
		at = transit.DefaultMount
	}
	fmt.Fprintf(&b, `
A user without a login gets a token: claviger endpoint add vault %[1]s --subject NAME --credential-out FILE.
The key NAME of %[2]s/ is the domain's key %[3]sNAME. Permit its use in the policy:

  permit (principal == Subject::"%[1]s:%[4]s",
          action in [Action::"encrypt", Action::"decrypt"], resource == Key::"%[3]sNAME");

sops: sops -e --hc-vault-transit %[5]s/v1/%[2]s/keys/NAME FILE
`, s.Endpoint.Name, at, prefix, subject, strings.TrimSuffix(s.Base, "/"+s.Endpoint.Name))
	return b.String()
}
