// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"claviger/client"
	"claviger/internal/wire"
)

// isRefused: an answer was changed on its way, the client said so by its kind of
// error, and wrote nothing.
func (d *Demo) isRefused(_, complaint string) (string, error) {
	if n := d.relay.hop.changed.Load(); n == 0 {
		return "", errors.New("the hop has changed no answer")
	}
	if !strings.Contains(complaint, client.ErrIntegrity.Error()) {
		return "", fmt.Errorf("standard error lacks %q", client.ErrIntegrity)
	}
	if _, err := os.Lstat(d.path("cards.opened")); err == nil {
		return "", errors.New("something was decrypted")
	}
	return strings.TrimSpace(complaint), nil
}

// hold has a program of the workload app lease the key, and go on running.
func (d *Demo) hold(ctx context.Context) error {
	p, err := client.OpenProfile(d.path(dirApp))
	if err != nil {
		return err
	}
	if d.held, err = client.Dial(ctx, p, client.Options{AllowDemo: true, Clock: d.o.Clock}); err != nil {
		return err
	}
	return d.use(ctx)
}

func (d *Demo) use(ctx context.Context) error {
	_, err := d.held.Encrypt(ctx, heldKey, []byte(tourText), client.EncryptOptions{})
	return err
}

// measured is what `revoke --measure` says when the one holder is dark by its own
// word.
var measured = regexp.MustCompile(`(?m)^Dark: 1 holder of 1, 1 by their own word\n.*the last after (\S+)$`)

// isDark: the holder has said that it dropped the key, and can't use it.
func (d *Demo) isDark(out, _ string) (string, error) {
	found := measured.FindStringSubmatch(out)
	if found == nil {
		return "", errors.New("it is not one holder that went dark by its own word")
	}
	err := d.use(context.Background())
	if denied, ok := errors.AsType[*client.DeniedError](err); !ok || denied.Key != heldKey {
		return "", fmt.Errorf("the program that held the key can go on: %v", err)
	}
	err = d.held.Close()
	d.held = nil
	return "dark after " + found[1] + ", told and acknowledged through the relay", err
}

// sawNothing: the relay carried enrolments and requests, and knows no name.
func (d *Demo) sawNothing(out, _ string) (string, error) {
	enrolled, asked := strings.Count(out, " "+wire.TypeEnroll+" "), strings.Count(out, " "+wire.TypeRequest+" ")
	if enrolled < 3 || asked < 5 {
		return "", fmt.Errorf("%d enrolments and %d requests went through the relay", enrolled, asked)
	}
	for _, name := range []string{"payments", dirApp, dirDetour, domainName, tourText[:9]} {
		if strings.Contains(out, name) {
			return "", fmt.Errorf("the relay knows the name %q", name)
		}
	}
	return fmt.Sprintf("%d enrolments and %d requests went through it; it knows no name of a key or workload", enrolled, asked), nil
}
