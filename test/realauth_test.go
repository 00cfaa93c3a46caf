package test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
	"scomconnector/poller/scom"
	"scomconnector/poller/scom/scomtest"
)

// iis is a web console behind a real Apache with Windows authentication, and a real KDC.
type iis struct {
	t       *testing.T
	realm   *realm
	apache  *apache
	group   *scomtest.Group
	console *scomtest.Console
	ids     int
}

func newIIS(t *testing.T, ticketLife, more string) *iis {
	t.Helper()
	b := newBench(t)
	b.needs("apache2", "krb5kdc")
	var accounts []scomtest.Account
	for _, name := range []string{`SCOM\alice`, `alice@SCOM`, "alice", "alice@SCOM.TEST", "robot@SCOM.TEST"} {
		accounts = append(accounts, scomtest.Account{User: name})
	}
	w := &iis{t: t, group: scomtest.New(scomtest.Options{Accounts: accounts}), ids: 3}
	w.console = w.group.Console(scomtest.ConsoleOptions{Mode: "Windows", FrontHeader: "X-User"})
	ln := listen(t)
	w.console.Serve(ln)
	t.Cleanup(w.console.Close)
	w.group.Populate(w.ids, time.Hour)
	w.realm = newRealm(b, ticketLife)
	w.apache = newApache(w.realm, ln.Addr().String(), more)
	return w
}

// at is the console behind a location, over HTTP or HTTPS.
func (w *iis) at(location string, secure bool) scom.Console {
	c := scom.Console{URL: "http://localhost:" + portOf(w.apache.plain) + "/" + location}
	if secure {
		c.URL = "https://localhost:" + portOf(w.apache.secure) + "/" + location
		c.CAFile = w.apache.ca
	}
	return c
}

func portOf(address string) string { return address[strings.LastIndex(address, ":")+1:] }

func (w *iis) windows(location string, secure bool) scom.Console {
	c := w.at(location, secure)
	c.Auth, c.Domain, c.User, c.Password = scom.AuthWindows, "SCOM", "alice", "secret"
	return c
}

func (w *iis) kerberos(location string, secure bool) scom.Console {
	c := w.at(location, secure)
	c.Auth, c.Domain, c.User, c.Password = scom.AuthKerberos, "scom.test", "alice", "secret"
	c.Krb5Conf = w.krb5Conf()
	return c
}

func (w *iis) krb5Conf() string {
	text, err := os.ReadFile(w.realm.conf)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func (w *iis) client(c scom.Console) *scom.Client {
	w.t.Helper()
	client, err := scom.New(scom.Config{Consoles: []scom.Console{c}}, hclog.New(&hclog.LoggerOptions{Output: testLog{w.t}, Level: hclog.Warn}))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.Close)
	return client
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// poll asks once and demands all rows.
func (w *iis) poll(c *scom.Client) error {
	seen := map[alert.ID]bool{}
	_, err := c.Poll(w.t.Context(), alert.Query{}, func(r alert.Row) error { seen[r.ID] = true; return r.Err })
	if err == nil && len(seen) != w.ids {
		err = fmt.Errorf("%d alerts of %d", len(seen), w.ids)
	}
	return err
}

// storm polls with so many callers at once and returns how many polls were good.
func (w *iis) storm(c *scom.Client, callers, each int) int {
	w.t.Helper()
	var good atomic.Int64
	var wg sync.WaitGroup
	var once sync.Once
	for range callers {
		wg.Go(func() {
			for range each {
				if err := w.poll(c); err != nil {
					once.Do(func() { w.t.Errorf("first fault: %v", err) })
					continue
				}
				good.Add(1)
			}
		})
	}
	wg.Wait()
	return int(good.Load())
}

// Behind a real Apache with NTLM and Kerberos, 16 callers at once get 4,000 good answers of 4,000.
func TestRealWindowsAuthentication(t *testing.T) {
	t.Parallel()
	w := newIIS(t, "10h", "")
	robot, err := os.ReadFile(w.realm.path("robot.keytab"))
	if err != nil {
		t.Fatal(err)
	}
	keytab := w.kerberos("krb", true)
	keytab.User, keytab.Password, keytab.Keytab = "robot", "", robot
	for _, c := range []struct {
		name    string
		console scom.Console
		each    int
	}{
		{"NTLM over HTTP", w.windows("ntlm", false), 250},
		{"NTLM over HTTPS", w.windows("ntlm", true), 250},
		{"Kerberos over HTTP", w.kerberos("krb", false), 250},
		{"Kerberos over HTTPS", w.kerberos("krb", true), 250},
		{"Kerberos with a keytab", keytab, 10},
		{"NTLM where both are offered", w.windows("both", true), 10},
		{"Kerberos where both are offered", w.kerberos("both", true), 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			if got, want := w.storm(w.client(c.console), 16, c.each), 16*c.each; got != want {
				t.Errorf("%d of %d polls are good", got, want)
			}
			t.Logf("%d polls in %v", 16*c.each, time.Since(start).Round(time.Millisecond))
		})
	}
}

// A connection may end at any time: by itself after some requests, or when nothing was asked for a while.
func TestRealConnectionsDropped(t *testing.T) {
	t.Parallel()
	// As short as can be without ending in the middle of a log-on on a machine that is busy.
	w := newIIS(t, "10h", "MaxKeepAliveRequests 5\nKeepAliveTimeout 250ms")
	for name, c := range map[string]scom.Console{
		"NTLM": w.windows("ntlm", true), "NTLM where both are offered": w.windows("both", false), "Kerberos": w.kerberos("krb", true),
	} {
		t.Run(name, func(t *testing.T) {
			client := w.client(c)
			if got, want := w.storm(client, 8, 25), 8*25; got != want {
				t.Errorf("%d of %d polls are good", got, want)
			}
			tick := time.NewTicker(400 * time.Millisecond) // longer than a connection lives
			defer tick.Stop()
			for range 10 {
				<-tick.C
				if err := w.poll(client); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if n := w.apache.badLogOns(); n != 0 {
		t.Errorf("%d bad log-ons, want none", n)
	}
}

// Where every third connection ends in the middle of the log-on, each poll is good, and no log-on is a bad one.
func TestRealConnectionsDroppedInTheMiddleOfTheLogOn(t *testing.T) {
	t.Parallel()
	w := newIIS(t, "10h", "MaxKeepAliveRequests 5")
	c := w.windows("ntlm", false)
	c.URL = "http://localhost:" + portOf(cutChallenges(t, w.apache.plain, 3)) + "/ntlm"
	// One request is tried three times: several callers by turns could take the connections between.
	if got := w.storm(w.client(c), 1, 100); got != 100 {
		t.Errorf("%d of 100 polls are good", got)
	}
	if n := w.apache.badLogOns(); n != 0 {
		t.Errorf("%d bad log-ons, want none", n)
	}
}

// cutChallenges is a way to the server on which every n-th connection ends when the server's challenge passes.
func cutChallenges(t *testing.T, server string, n int64) string {
	t.Helper()
	ln := listen(t)
	t.Cleanup(func() { ln.Close() })
	var challenges atomic.Int64
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				near.Close()
				continue
			}
			go func() { io.Copy(far, near); far.Close() }()
			go func() {
				defer near.Close()
				buf := make([]byte, 64<<10)
				for {
					got, err := far.Read(buf)
					if err != nil || bytes.Contains(buf[:got], []byte("NTLM TlRMTVNTUAAC")) && challenges.Add(1)%n == 0 {
						far.Close()
						return
					}
					near.Write(buf[:got])
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// A wrong password costs one bad log-on, however many ask at once, and is told in plain words.
func TestRealWrongPassword(t *testing.T) {
	t.Parallel()
	w := newIIS(t, "10h", "")
	for name, c := range map[string]struct {
		console scom.Console
		bad     func() int
		says    string
	}{
		"NTLM":     {w.windows("ntlm", true), w.apache.badLogOns, "log-on of SCOM\\alice was refused (HTTP 401 Unauthorized at the end of the handshake)"},
		"Kerberos": {w.kerberos("krb", true), w.realm.badLogOns, "log-on of alice@scom.test was refused (SCOM.TEST: wrong password or key (KDC_ERR_PREAUTH_FAILED))"},
	} {
		t.Run(name, func(t *testing.T) {
			c.console.Password = "wrong"
			client := w.client(c.console)
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for range 3 {
						f, ok := alert.FaultOf(w.poll(client))
						if !ok || f.Class != alert.FaultAuth || !strings.Contains(f.Error(), c.says) {
							t.Errorf("got %v", f)
						}
						if err := client.Ping(t.Context(), 0); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if n := c.bad(); n != 1 {
				t.Errorf("%d bad log-ons, want 1", n)
			}
		})
	}
	unknown := w.kerberos("krb", true)
	unknown.ServicePrincipalName = "HTTP/elsewhere.scom.test"
	if err := w.poll(w.client(unknown)); err == nil || !strings.Contains(err.Error(), "knows no service HTTP/elsewhere.scom.test") {
		t.Errorf("a service that nobody has registered: got %v", err)
	}
	locked := w.kerberos("krb", true)
	w.realm.admin("modprinc -allow_tix alice")
	if err := w.poll(w.client(locked)); err == nil || !strings.Contains(err.Error(), "the account is locked or disabled") {
		t.Errorf("a locked account: got %v", err)
	}
}

// Tickets end, and are renewed before. Their time here is the shortest in which that shows: the rule is a share of it.
func TestRealTicketsAreRenewed(t *testing.T) {
	t.Parallel()
	w := newIIS(t, "3s", "")
	client := w.client(w.kerberos("krb", false))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	polls := 0
	for start := time.Now(); time.Since(start) < 8*time.Second; <-tick.C {
		if err := w.poll(client); err != nil {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		polls++
	}
	granters, services := w.realm.tickets("krbtgt/"+realmName), w.realm.tickets("HTTP/localhost")
	if granters < 3 || granters > 6 || services < 3 || services > 6 {
		t.Errorf("%d log-ons and %d tickets for the console in 8 s, want three or a few more", granters, services)
	}
	t.Logf("%d polls, %d log-ons, %d tickets", polls, granters, services)
}

// A whole node with Kerberos against real servers: a wrong password is one bad log-on, told in plain words and in Moogsoft, and
// ends with the corrected settings.
func TestRealNodeWithKerberos(t *testing.T) {
	t.Parallel()
	w := newIIS(t, "10h", "")
	p := newPlant(t, plantOptions{})
	p.group = w.group
	node, config := p.procs[0], p.path("n1", "SCOMConnectorConfig.json")
	p.edit(config, between(t, p, config, `"ScomAddressHost": "sim", `, `}`), fmt.Sprintf(
		`"Url": "https://localhost:%s/krb", "CaFile": %q, "Auth": "kerberos", "Domain": "SCOM.TEST", "UserId": "alice", "Password": "plain:wrong", "Krb5ConfFile": %q`,
		portOf(w.apache.secure), w.apache.ca, w.realm.conf))
	p.tool("check", "--node", p.path("n1", "node.json"))
	node.start()
	await(t, "the page names the refusal", 30*time.Second, func() bool {
		s, err := node.status()
		return err == nil && strings.Contains(s.Verdict.Text, "refuses the log-on of alice@SCOM.TEST (wrong password or key); next try ") && strings.Contains(s.Verdict.Do, "tried at once")
	})
	await(t, "Moogsoft is told", 30*time.Second, func() bool {
		for _, e := range p.lam.Received() {
			if strings.HasSuffix(e.ExternalID, "::scom-logon") {
				return true
			}
		}
		return false
	})
	p.edit(config, "plain:wrong", "plain:secret")
	p.tool("config", "apply", config, "--url", node.url, "--yes")
	p.awaitAll(30 * time.Second)
	if n := w.realm.badLogOns(); n != 1 {
		t.Errorf("%d bad log-ons, want 1", n)
	}
}
