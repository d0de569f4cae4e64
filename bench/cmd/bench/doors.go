// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"claviger/bench/report"
)

const (
	xksRate     = 2000 // requests a second of the open loop
	xksFor      = "10s"
	xksEndpoint = "bench"
)

// doors measures an AWS KMS external key store: encryptions of 32 bytes at the rate
// that is asked for, and as fast as the server answers, with policy and durable audit.
func (b *bench) doors(ctx context.Context) error {
	d, err := b.newDomain(ctx, lastProcessor())
	if err != nil {
		return err
	}
	defer d.end()
	policy := `permit (principal in Endpoint::"` + xksEndpoint + `", action in [Action::"encrypt", Action::"decrypt"], resource in Folder::"payments");`
	if err := os.WriteFile(filepath.Join(d.home, "policy.cedar"), []byte(policy), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"endpoint", "add", "xks", xksEndpoint, "--set", "folder=payments/", "--rate", "1000000", "--public", "https://" + d.doors, "--credential-out", "xks.json", "--passphrase-file", "pass"},
		{"policy", "set", "policy.cedar", "--passphrase-file", "pass"},
	} {
		if err := d.do(ctx, args...); err != nil {
			return err
		}
	}
	s, err := d.xks()
	if err != nil {
		return err
	}
	sign := filepath.Join(d.home, "xks.json")
	for round := range b.rounds {
		progress("doors: round %d of %d", round+1, b.rounds)
		if err := b.askWith(ctx, s, "xks/open", "-connections", "64", "-rate", fmt.Sprint(xksRate), "-duration", xksFor, "-sigv4", sign); err != nil {
			return err
		}
		if err := b.askWith(ctx, s, "xks/closed", "-connections", "16", "-sigv4", sign); err != nil {
			return err
		}
	}
	table := report.Table{Head: []string{"AWS KMS external key store, encryptions of 32 bytes, one processor", "answers a second", "p50, ms", "p99, ms", "for a second of the server's processor time"}}
	for _, row := range []struct{ name, shown string }{
		{"xks/open", fmt.Sprintf("asked %d times a second, by at most 64 at once", xksRate)}, {"xks/closed", "16 connections, as fast as it answers"},
	} {
		table.Row(row.shown, report.Number(b.found.Median(row.name+"/wall")), report.Number(b.found.Median(row.name+"/p50")),
			report.Number(b.found.Median(row.name+"/p99")), report.Number(b.found.Median(row.name+"/core")))
	}
	b.texts["doors"] = table.String()
	return nil
}

// xks is the door, asked as AWS KMS asks; each request is signed when it is sent.
func (d *domain) xks() (serving, error) {
	body, err := json.Marshal(map[string]any{
		"plaintext": []byte("0123456789abcdef0123456789abcdef"), "encryptionAlgorithm": "AES_GCM",
		"requestMetadata": map[string]string{
			"awsPrincipalArn": "arn:aws:iam::123456789012:role/App", "kmsOperation": "Encrypt", "kmsRequestId": "4112f4d6-db54-4af4-ae30-c55a22a8dfae",
			"kmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/1",
		},
	})
	if err != nil {
		return serving{}, err
	}
	path := filepath.Join(d.home, "xks-request.json")
	if err := os.WriteFile(path, body, 0o600); err != nil {
		return serving{}, err
	}
	return serving{
		name: "xks", URL: "https://" + d.doors + "/" + xksEndpoint + "/kms/xks/v1/keys/cards/encrypt", Body: path,
		Cert: filepath.Join(d.profile, "cert.pem"), Key: filepath.Join(d.profile, "key.pem"), PID: d.server.Process.Pid,
	}, nil
}
