// SPDX-License-Identifier: Apache-2.0

package doors

import (
	"claviger/internal/gateway"
	"claviger/internal/gateway/dke"
	"claviger/internal/gateway/kacls"
	"claviger/internal/gateway/kes"
	"claviger/internal/gateway/salesforce"
	"claviger/internal/gateway/vaultapi"
	"claviger/internal/gateway/xks"
)

// Kinds are the kinds of endpoint that this program knows.
func Kinds() gateway.Kinds {
	return gateway.Kinds{xks.Kind(), vaultapi.Kind(), kacls.Kind(), dke.Kind(), salesforce.Kind(), kes.Kind()}
}
