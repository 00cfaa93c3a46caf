package main

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// simulator is a server of doctor.txt: {scom}, {lam} and so on, healthy ones and sick ones.
type simulator struct{ name, address string }

// measured is what differs from run to run: durations, dates, free space.
var measured = regexp.MustCompile(`\b(\d+h)?(\d+m)?\d+(\.\d+)?(µs|ms|s)\b|\d+(\.\d+)? [KMG]iB free|\d+ days left|20\d\d-\d\d-\d\d`)

// clinic starts the simulators of doctor.txt.
func clinic(t *testing.T) []simulator {
	t.Helper()
	ca, err := publishertest.NewCA("Contoso CA")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(leaf publishertest.Leaf) *tls.Config {
		cert, err := ca.Issue(leaf)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{cert.TLS}}
	}
	good := publishertest.Leaf{NotAfter: time.Now().Add(400 * 24 * time.Hour)}
	past := publishertest.Leaf{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	all := []simulator{{"{ca}", file}}
	console := func(name string, opt scomtest.Options, f scomtest.Faults, leaf publishertest.Leaf) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c := scomtest.New(opt).Console(scomtest.ConsoleOptions{})
		c.Set(f)
		c.Serve(tls.NewListener(ln, issue(leaf)))
		t.Cleanup(c.Close)
		all = append(all, simulator{name, ln.Addr().String()})
	}
	console("{scom}", scomtest.Options{}, scomtest.Faults{}, good)
	console("{scom-1801}", scomtest.Options{Version: "1801", Accounts: []scomtest.Account{{User: scomtest.DefaultAccount.User, Password: scomtest.DefaultAccount.Password, Role: "Read-Only Operator"}}}, scomtest.Faults{}, good)
	console("{scom-expired}", scomtest.Options{}, scomtest.Faults{}, past)
	console("{scom-clock}", scomtest.Options{}, scomtest.Faults{ClockOffset: time.Hour}, good)
	console("{scom-other}", scomtest.Options{Name: "FABRIKAM-MG"}, scomtest.Faults{}, good)
	lam := func(name string, f publishertest.Faults) {
		l, err := publishertest.Listen("127.0.0.1:0", publishertest.Options{TLS: issue(good), Token: "right"})
		if err != nil {
			t.Fatal(err)
		}
		l.Set(f)
		t.Cleanup(l.Close)
		host, _, _ := strings.Cut(strings.TrimPrefix(l.URL(), "https://"), "/")
		all = append(all, simulator{name, host})
	}
	lam("{lam}", publishertest.Faults{})
	lam("{lam-page}", publishertest.Faults{HTMLLogin: true})
	lam("{lam-small}", publishertest.Faults{Limit: 100_000})
	return all
}
