// SPDX-License-Identifier: Apache-2.0

package relaycmd

import (
	"strings"
	"testing"
	"time"
)

const least = "schema = 1\ndir = \"/d\"\ndomains = [\"" + someDomain + "\"]\n"

func TestConfig(t *testing.T) {
	c, err := parseConfig(least)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != ":8444" || c.NATS.replicas() != 1 || c.domains()[0].String() != someDomain {
		t.Errorf("%+v", c)
	}
	c, err = parseConfig(least + "listen = \"[::1]:1\"\nurls = [\"https://relay.example:8444\", \"https://[::1]:8444\"]\nmetrics = \"[::1]:2\"\n" +
		"[tls]\ncertificate = \"/c\"\nkey = \"/k\"\n[nats]\nurl = \"tls://n:4222\"\ncredentials = \"/n\"\nca = \"/ca\"\nreplicas = 5\n" +
		"[limits]\nconnections = 1\nconnections_per_address = 2\nrate = 2.5\nburst = 4\nunder_way = 5\nbodies = 6\nbodies_per_address = 7\nparcels = 8\nparcel_bytes = 9\nparcel_hours = 10\ndomain_bytes = 11\nring = 12\n")
	if err != nil {
		t.Fatal(err)
	}
	if l := c.Limits.limits(); l.Connections != 1 || l.ConnectionsPerAddress != 2 || l.Rate != 2.5 || l.Burst != 4 || l.UnderWay != 5 || l.Bodies != 6 ||
		l.BodiesPerAddress != 7 || l.Parcels != 8 || l.ParcelBytes != 9 || l.ParcelLife != 10*time.Hour || l.Ring != 12 || c.Limits.DomainBytes != 11 {
		t.Errorf("%+v", l)
	}
	if c.NATS.replicas() != 5 {
		t.Errorf("%+v", c.NATS)
	}
}

func TestConfigIsStrict(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"unknown":             {least + "x = 1", "unknown key \"x\""},
		"unknown limit":       {least + "[limits]\nx = 1", "unknown key \"limits.x\""},
		"another schema":      {strings.Replace(least, "1", "2", 1), "schema 2"},
		"no directory":        {strings.Replace(least, "/d", "", 1), "absolute path"},
		"relative":            {strings.Replace(least, "/d", "d", 1), "absolute path"},
		"no domains":          {"schema = 1\ndir = \"/d\"", "1 to 64 domain ids"},
		"many domains":        {strings.Replace(least, "[", "["+strings.Repeat("\n\""+someDomain+"\",", 64), 1), "1 to 64 domain ids"},
		"twice":               {strings.Replace(least, "[", "[\""+someDomain+"\", ", 1), "twice"},
		"upper case":          {strings.Replace(least, "0a", "0A", 1), "lower-case"},
		"short":               {strings.Replace(least, "0a", "", 1), "lower-case"},
		"listen":              {least + "listen = \"8444\"", "listen: "},
		"url with a path":     {least + "urls = [\"https://h:1/\"]", "https://host:port"},
		"url without a port":  {least + "urls = [\"https://h\"]", "https://host:port"},
		"url of another kind": {least + "urls = [\"http://h:1\"]", "https://host:port"},
		"url with a name":     {least + "urls = [\"https://u@h:1\"]", "https://host:port"},
		"url in capitals":     {least + "urls = [\"https://H:1\"]", "https://host:port"},
		"metrics for all":     {least + "metrics = \"0.0.0.0:1\"", "loopback"},
		"metrics":             {least + "metrics = \"x\"", "metrics: "},
		"half a certificate":  {least + "[tls]\nkey = \"/k\"", "go together"},
		"relative key":        {least + "[tls]\nkey = \"k\"\ncertificate = \"/c\"", "k is not an absolute path"},
		"credentials alone":   {least + "[nats]\ncredentials = \"/c\"", "url is missing"},
		"ca alone":            {least + "[nats]\nca = \"/c\"", "url is missing"},
		"replicas":            {least + "[nats]\nurl = \"x\"\nreplicas = 6", "1 to 5"},
		"negative":            {least + "[limits]\nparcels = -1", "parcels is below 0"},
		"too many":            {least + "[limits]\nconnections = 2000000", "connections is below 0 or above"},
		"rate":                {least + "[limits]\nrate = nan", "rate is below 0"},
		"hours":               {least + "[limits]\nparcel_hours = 169", "parcel_hours"},
		"bytes":               {least + "[limits]\ndomain_bytes = -1", "domain_bytes"},
	} {
		if _, err := parseConfig(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(least)
	f.Add(least + "urls = [\"https://[::1]:8444\"]\n[limits]\nrate = 1e3\n[nats]\nurl = \"nats://h\"")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConfig(text)
		if err != nil {
			return
		}
		if len(c.domains()) == 0 || c.Dir[0] != '/' || c.Limits.limits().Connections < 0 {
			t.Errorf("%q was taken as %+v", text, c)
		}
	})
}
