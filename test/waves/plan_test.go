// SPDX-License-Identifier: Apache-2.0

package waves

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/pace"
	"claviger/internal/pki/ca"
)

// page is the plan that the tables of this file stand in.
const page = "../../docs/scaling.md"

var write = flag.Bool("write", false, "write the tables of docs/scaling.md anew")

// cost of one operation, as docs/performance.md has it.
type cost struct {
	what, who, command string
	took               time.Duration // of one processor
}

// The costs are rounded up from what the commands gave on the machine of
// docs/performance.md. Who measures on another machine changes them here.
var (
	release    = cost{"release of a key", "server", "go test ./test/bench -run none -bench 'Server/Release$' -benchtime 2s", 550 * time.Microsecond}
	renewal    = cost{"renewal of a certificate", "server", "go test ./test/bench -run none -bench Costs/Renew -benchtime 2s", 2500 * time.Microsecond}
	ack        = cost{"acknowledgement", "server", "go test ./test/bench -run none -bench Costs/Ack -benchtime 2s", 250 * time.Microsecond}
	serverPush = cost{"statement to one follower", "server or relay", "go test ./test/bench -run none -bench Costs/Push -benchtime 2s", 40 * time.Microsecond}
	handshake  = cost{"connection, with its first answer", "server or relay", "go test ./test/bench -run none -bench Connections -benchtime 1x", 650 * time.Microsecond}
	exchange   = cost{"exchange carried, both sides", "relay", "go test ./internal/relay -run none -bench RoundTrips", 240 * time.Microsecond}
	parcel     = cost{"parcel kept, synced (of the clock)", "relay", "go test ./internal/relay -run none -bench Parcels", time.Millisecond}
)

const (
	followerBytes = 58 << 10 // of memory, for one stream that is followed: Costs/Push
	leafBytes     = 400      // of disk, for one decision in the audit log, tiles included
	exchangeBytes = 6 << 10  // on the wire, for one exchange through a relay, padded, both ways

	mostRecords = 100 // a second in one log, synced one after the other: Costs/Renew by the clock

	statementEvery = 30 * time.Second
	// What is assumed of a client: two leases in use, to encrypt and to decrypt; a stream
	// of statements behind a relay; a certificate of the embedded CA's lifetime.
	leasesEach = 2
	// What is assumed of a domain: three servers, so that one may be away; a record that
	// all hear of, such as a rotation or a new rule, once in an hour.
	servers     = 3
	changeEvery = time.Hour
	// What is assumed of machines, and that they are used to two fifths: for the busiest
	// second (TestMassStart), for refused asks after a change, and for one that is lost.
	processors = 16
	memory     = 64 << 30
	used       = 0.4
)

// average of a rule is its middle: draws are even.
func average(rule func(time.Duration, pace.Draw) time.Duration, life time.Duration) time.Duration {
	return rule(life, math.MaxUint64/2).Round(time.Second)
}

// often are the times between two operations of one client.
func often() (leases, certificates, standing time.Duration) {
	return average(pace.Refresh, authority.DefaultLease*time.Second), average(pace.Renewal, ca.DefaultTTL), average(pace.Standing, 24*time.Hour)
}

// plan is what so many clients take.
type plan struct {
	clients                              float64
	releases, stands, pushes             float64 // a second
	serverCores, relayCores              float64
	domains, serverMachines, relaysByCPU float64
	relaysByMemory                       float64
	leavesBytes, wireBytes               float64 // a day, a second
	change                               time.Duration
	embedded                             float64 // domains, where certificates are the embedded CA's
}

// recordsOf is what the renewals of a domain of so many clients cost where each is a
// record of the authority log: who has heard of one asks anew, and hears of the next
// by then.
func recordsOf(clients float64) (records, asks, cores float64) {
	_, certificates, _ := often()
	records = clients / certificates.Seconds()
	between := 1/records + pace.News(math.MaxInt, math.MaxUint64/2).Seconds()
	asks = clients / between
	return records, asks, asks*release.took.Seconds() + records*renewal.took.Seconds()
}

// mostEmbedded is how many clients of the embedded CA's a domain has room for.
func mostEmbedded() float64 {
	least, most := 1.0, 1e9
	for most-least > 1 {
		middle := math.Floor((least + most) / 2)
		p := outside(middle)
		records, _, cores := recordsOf(middle)
		if records > used*mostRecords || p.serverCores+cores > servers*processors*used {
			most = middle
		} else {
			least = middle
		}
	}
	return least
}

func planFor(clients float64) plan {
	p := outside(clients)
	p.embedded = math.Ceil(clients / mostEmbedded())
	return p
}

// outside is the plan where certificates are an outside CA's.
func outside(clients float64) plan {
	leases, _, standing := often()
	p := plan{clients: clients}
	p.releases = clients * (leasesEach/leases.Seconds() + 1/changeEvery.Seconds())
	p.stands = clients / standing.Seconds()
	p.pushes = clients * servers / statementEvery.Seconds()
	asked := p.releases + p.stands
	p.serverCores = asked * release.took.Seconds()
	p.relayCores = asked*exchange.took.Seconds() + p.pushes*serverPush.took.Seconds()
	p.domains = math.Ceil(p.serverCores / (servers * processors * used))
	p.serverMachines = p.domains * servers
	p.relaysByCPU = math.Ceil(p.relayCores / (processors * used))
	p.relaysByMemory = math.Ceil(clients * followerBytes / (memory / 2))
	p.leavesBytes = asked * leafBytes * 86400
	p.wireBytes = asked * exchangeBytes
	p.change = time.Duration(clients * float64(release.took) / (p.serverMachines * processors)).Round(time.Second)
	return p
}

func (p plan) relays() float64 { return max(2, p.relaysByCPU, p.relaysByMemory) }

// tables are those of the page, by the name of their marker.
func tables() map[string]string {
	var costs, rates, plans strings.Builder
	costs.WriteString("| operation | at the | processor time | measured by |\n|---|---|--:|---|\n")
	for _, c := range []cost{release, renewal, ack, serverPush, handshake, exchange, parcel} {
		fmt.Fprintf(&costs, "| %s | %s | %s | `%s` |\n", c.what, c.who, span(c.took), c.command)
	}
	leases, certificates, standing := often()
	rates.WriteString("| each client | every, on average |\n|---|--:|\n")
	for _, r := range []struct {
		what string
		time time.Duration
	}{
		{fmt.Sprintf("has each of %d leases replaced", leasesEach), leases}, {"renews its certificate", certificates}, {"makes a standing request", standing},
		{"asks after a change, once for all its keys", changeEvery}, {fmt.Sprintf("hears a statement of each of %d servers", servers), statementEvery},
	} {
		fmt.Fprintf(&rates, "| %s | %s |\n", r.what, span(r.time))
	}
	all := []plan{planFor(1e5), planFor(1e7), planFor(1e9)}
	plans.WriteString("| clients |")
	for _, p := range all {
		fmt.Fprintf(&plans, " %s |", count(p.clients))
	}
	plans.WriteString("\n|---|--:|--:|--:|\n")
	for _, row := range []struct {
		what string
		of   func(plan) string
	}{
		{"releases a second", func(p plan) string { return count(p.releases) }},
		{"statements told a second", func(p plan) string { return count(p.pushes) }},
		{"processors busy, servers", func(p plan) string { return count(p.serverCores) }},
		{"processors busy, relays", func(p plan) string { return count(p.relayCores) }},
		{fmt.Sprintf("**trust domains**, of %d servers each", servers), func(p plan) string { return count(p.domains) }},
		{"**server machines**", func(p plan) string { return count(p.serverMachines) }},
		{"domains, where certificates are the embedded CA's", func(p plan) string { return count(p.embedded) }},
		{"server machines then", func(p plan) string { return count(p.embedded * servers) }},
		{"relay machines by processors", func(p plan) string { return count(p.relaysByCPU) }},
		{"relay machines by memory", func(p plan) string { return count(p.relaysByMemory) }},
		{"**relay machines**, two at least", func(p plan) string { return count(p.relays()) }},
		{"audit logs grow by, a day, GB", func(p plan) string { return count(p.leavesBytes / 1e9) }},
		{"exchanges on the wire, Mbit a second", func(p plan) string { return count(p.wireBytes * 8 / 1e6) }},
		{"until all have asked after a change, at best", func(p plan) string { return span(p.change) }},
	} {
		fmt.Fprintf(&plans, "| %s |", row.what)
		for _, p := range all {
			fmt.Fprintf(&plans, " %s |", row.of(p))
		}
		plans.WriteString("\n")
	}
	var records strings.Builder
	records.WriteString("| clients of the embedded CA in one domain | records of renewals a second | releases a second because of them | processors |\n|--:|--:|--:|--:|\n")
	for _, clients := range []float64{1e3, 1e4, 1e5, 1e6} {
		r, asks, cores := recordsOf(clients)
		fmt.Fprintf(&records, "| %s | %s | %s | %s |\n", count(clients), count(r), count(asks), count(cores))
	}
	return map[string]string{"costs": costs.String(), "rates": rates.String(), "plan": plans.String(), "records": records.String()}
}

// span shows a time in the largest unit that it has one of.
func span(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, "h"}, {5 * time.Minute, "min"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if d >= u.of {
			if u.name == "min" {
				u.of = time.Minute
			}
			return fmt.Sprintf("%s %s", count(float64(d)/float64(u.of)), u.name)
		}
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}

// count shows a number with two digits that count, or three.
func count(n float64) string {
	if n < 10 {
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", n), "0"), ".")
	}
	unit := math.Pow(10, math.Floor(math.Log10(n))-2)
	text := fmt.Sprintf("%.0f", math.Round(n/max(unit, 1))*max(unit, 1))
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// TestPlan: the page's tables are those that these costs give.
func TestPlan(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	out := string(text)
	for name, table := range tables() {
		begin := "<!-- plan:" + name + " -->\n"
		before, rest, ok := strings.Cut(out, begin)
		old, after, ended := strings.Cut(rest, "<!-- end -->")
		if !ok || !ended {
			t.Fatalf("%s has no place for the table %q", page, name)
		}
		if old != table && !*write {
			t.Errorf("%s: the table %q is another (write it with -args -write); want\n%s", page, name, table)
		}
		out = before + begin + table + "<!-- end -->" + after
	}
	if *write {
		if err := os.WriteFile(page, []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPlanAddsUp: twice the clients need twice of all that isn't rounded, and nothing
// is left out of what keeps a server busy.
func TestPlanAddsUp(t *testing.T) {
	one, two := planFor(1e8), planFor(2e8)
	if r := two.serverCores / one.serverCores; math.Abs(r-2) > 1e-9 {
		t.Errorf("twice the clients keep %.3f times the processors busy", r)
	}
	if all := one.domains * servers * processors * used; all < one.serverCores {
		t.Errorf("%.0f processors are planned, %.0f are busy", all, one.serverCores)
	}
	if one.relays()*memory/2 < 1e8*followerBytes {
		t.Error("the relays' memory is less than their followers take")
	}
	for n, want := range map[float64]string{0: "0", 0.061: "0.06", 6: "6", 17.4: "17", 123_456: "123,000", 1e9: "1,000,000,000"} {
		if got := count(n); got != want {
			t.Errorf("%v is shown as %s, want %s", n, got, want)
		}
	}
}
