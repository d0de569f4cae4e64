// SPDX-License-Identifier: Apache-2.0

package anchors

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"

	"claviger/internal/pki"
)

// readCRLs reads the revocation lists that stand in one PEM or DER file.
func readCRLs(path string) ([][]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("certificate revocation list: %w", err)
	}
	if info.Size() > pki.MaxCRLSize {
		return nil, fmt.Errorf("certificate revocation list %s: larger than %d bytes", path, pki.MaxCRLSize)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("certificate revocation list: %w", err)
	}
	var out [][]byte
	for _, block := range splitPEM(data) {
		der, err := pki.ParseCRL(block)
		if err != nil {
			return nil, fmt.Errorf("certificate revocation list %s: %w", path, err)
		}
		out = append(out, der)
	}
	return out, nil
}

// splitPEM returns each PEM block on its own, or the data as it is if it is DER.
func splitPEM(data []byte) [][]byte {
	var out [][]byte
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		out = append(out, pem.EncodeToMemory(block))
	}
	if len(out) == 0 && len(bytes.TrimSpace(data)) > 0 {
		out = append(out, data)
	}
	return out
}
