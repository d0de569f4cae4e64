// SPDX-License-Identifier: Apache-2.0

package xks

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"claviger/internal/gateway"
)

// console is the file that the AWS KMS console imports when it makes a key store.
type console struct {
	Path       string `json:"XksProxyUriPath"`
	Credential struct {
		ID     string `json:"AccessKeyId"`
		Secret string `json:"RawSecretAccessKey"`
	} `json:"XksProxyAuthenticationCredential"`
}

// guide says what AWS has to be told: the console's file, Terraform, and the calls
// of the AWS command line.
func guide(site gateway.Site, secrets []gateway.Secret) string {
	var file console
	endpoint, path := parts(site.Base)
	file.Path = path
	file.Credential.ID, file.Credential.Secret = "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"
	if len(secrets) > 0 {
		file.Credential.ID, file.Credential.Secret = secrets[0].Credential.ID, secrets[0].Show
	}
	text, _ := json.MarshalIndent(file, "", "  ") // three texts can't fail
	name := site.Endpoint.Name
	var b strings.Builder
	fmt.Fprintf(&b, "AWS KMS console, Create external key store, Upload configuration file:\n\n%s\n\n", text)
	fmt.Fprintf(&b, "KMS reaches only port 443 with a public certificate: put %s in front of this port.\n\n", endpoint)
	fmt.Fprintf(&b, `Terraform:

resource "aws_kms_custom_key_store" %q {
  custom_key_store_name   = %q
  custom_key_store_type   = "EXTERNAL_KEY_STORE"
  xks_proxy_connectivity  = "PUBLIC_ENDPOINT"
  xks_proxy_uri_endpoint  = %q
  xks_proxy_uri_path      = %q
  xks_proxy_authentication_credential {
    access_key_id         = %q
    raw_secret_access_key = var.xks_secret
  }
}

`, name, name, endpoint, path, file.Credential.ID)
	fmt.Fprintf(&b, `AWS command line:

aws kms create-custom-key-store --custom-key-store-type EXTERNAL_KEY_STORE --custom-key-store-name %s \
  --xks-proxy-connectivity PUBLIC_ENDPOINT --xks-proxy-uri-endpoint %s --xks-proxy-uri-path %s \
  --xks-proxy-authentication-credential file://credential.json
aws kms connect-custom-key-store --custom-key-store-id ID
aws kms create-key --origin EXTERNAL_KEY_STORE --custom-key-store-id ID --xks-key-id NAME

credential.json: {"AccessKeyId":%q,"RawSecretAccessKey":"…"}
NAME is a key of this domain, without its folder (%q). Policy decides who may use it: principals are
Subject::"%s:ARN" in Endpoint::%q; context.kmsOperation, kmsViaService, kmsKeyArn, sourceVpc and sourceVpce say what for.
A request that takes longer than %s here fails as DependencyTimeoutException; KMS waits for 250 ms in all.
`, name, endpoint, path, file.Credential.ID, site.Option(gateway.OptionFolder), name, name, Budget)
	return b.String()
}

// parts are the endpoint and the path that KMS wants of a URL: it takes no port.
func parts(base string) (endpoint, path string) {
	u, err := url.Parse(base)
	if err != nil {
		return base, root
	}
	return "https://" + u.Hostname(), u.Path + root
}
