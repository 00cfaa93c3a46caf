package daemon

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/poller"
	"scomconnector/publisher/publishertest"
)

// certFile writes certificates that end after so many days.
func certFile(t *testing.T, days ...int) string {
	t.Helper()
	var text []byte
	for _, d := range days {
		c, err := publishertest.SelfSigned(publishertest.Leaf{NotBefore: time.Now().Add(-99 * 24 * time.Hour), NotAfter: time.Now().Add(time.Duration(d)*24*time.Hour + time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, c.CertPEM...)
	}
	path := filepath.Join(t.TempDir(), "cluster.crt")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The page warns sixty days before any certificate of the node's connections ends, an authority's too, and says how to renew it.
func TestThePageWarnsBeforeACertificateEnds(t *testing.T) {
	for name, c := range map[string]struct {
		cert, ca string
		want     []string // one warning each
	}{
		"none":              {"", "", nil},
		"far off":           {certFile(t, 61), certFile(t, 3650), nil},
		"near":              {certFile(t, 59), certFile(t, 3650), []string{"ClusterTls.CertFile"}},
		"the authority":     {certFile(t, 700), certFile(t, 59), []string{"ClusterTls.CaFile"}},
		"one of two":        {certFile(t, 700), certFile(t, 900, 20), []string{"ClusterTls.CaFile"}},
		"over":              {certFile(t, -2), "", []string{"has ended on"}},
		"a file that is no": {os.Args[0], "", []string{"holds no certificate"}},
		"a missing file":    {filepath.Join(t.TempDir(), "none"), "", []string{syscall.ENOENT.Error()}},
	} {
		n := nodeOf(newFakeCluster(t, 2, "primary", "primary"), nil)
		n.opts.Node.ClusterTls.CertFile, n.opts.Node.ClusterTls.CaFile = c.cert, c.ca
		got := n.certificateWarnings(time.Now())
		if len(got) != len(c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
			continue
		}
		for i, w := range c.want {
			wantText(t, name, got[i], w)
		}
		if name == "near" {
			wantText(t, name, got[0], "in 59 days", "scomconnector cert renew")
		}
	}
}

// Moogsoft is told fourteen days before a member's certificate ends, and again once it was renewed; a member that was dropped is cleared.
func TestMoogsoftIsToldBeforeAMembersCertificateEnds(t *testing.T) {
	const day = 24 * time.Hour
	f := newFakeCluster(t, 3, "primary", "primary").seeded("")
	f.mu.Lock()
	f.apply(state.Commit{Pipeline: "alerts/default", Raised: []string{"certificate-gone", "certificate-witness", "full"}})
	f.mu.Unlock()
	n := nodeOf(f, nil)
	n.memberCerts["primary"] = certificate{What: "ClusterTls.CertFile c.crt", End: time.Now().Add(15 * day)}
	n.memberCerts["secondary"] = certificate{What: "ClusterTls.CertFile c.crt", End: time.Now().Add(13 * day)}
	got := map[string]poller.Alarm{}
	for _, a := range n.certificateAlarms("alerts/default") {
		got[a.Kind] = a
	}
	if a := got["certificate-secondary"]; !a.Raised || !strings.Contains(a.Text, "On secondary, ClusterTls.CertFile c.crt ends on") || !strings.Contains(a.Text, "cert renew") {
		t.Errorf("13 days before: %+v", a)
	}
	if a, known := got["certificate-primary"]; a.Raised || !known || !strings.Contains(a.Cleared, "primary") {
		t.Errorf("15 days before: %+v", a)
	}
	if a, known := got["certificate-gone"]; a.Raised || !known || !strings.Contains(a.Cleared, "no member any more") {
		t.Errorf("of who is no member: %+v", a)
	}
	if _, known := got["certificate-witness"]; known || len(got) != 3 { // it has not been asked yet: what was told stands
		t.Errorf("got %+v", got)
	}
}

// A member's answer is its first certificate to end.
func TestAMemberSaysWhichCertificateEndsFirst(t *testing.T) {
	n := nodeOf(newFakeCluster(t, 3, "secondary", "primary"), nil)
	n.opts.Node.ClusterTls.CertFile, n.opts.Node.Tls.CertFile = certFile(t, 30), certFile(t, 20)
	body, err := n.serveAsk(t.Context(), "primary", []byte(`{"ask":"certificates"}`))
	if err != nil || !strings.Contains(string(body), filepath.Base(n.opts.Node.Tls.CertFile)) || !strings.Contains(string(body), `"Tls.CertFile `) {
		t.Errorf("got %s, %v", body, err)
	}
}

// The leader asks every member that is in contact, and asks again, so that a renewed certificate clears the alarm.
func TestTheLeaderAsksForEveryMembersCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t, 3, "primary", "secondary").seeded("")
		ends := func(days int) certificate {
			return certificate{What: "ClusterTls.CertFile c.crt", End: time.Now().Add(time.Duration(days) * 24 * time.Hour)}
		}
		f.answer("secondary", ends(3))
		f.answer("witness", certificate{})
		n := nodeOf(f, nil)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); n.watchCertificates(ctx) }()
		raised := func() (kinds []string) {
			for _, a := range n.certificateAlarms("alerts/default") {
				if a.Raised {
					kinds = append(kinds, a.Kind)
				}
			}
			return kinds
		}
		pass(5 * time.Minute)
		if got := raised(); len(got) > 0 || len(f.asked) > 0 {
			t.Errorf("on a follower: asked %q, raised %q", f.asked, got)
		}
		f.lead("primary", cluster.CauseTransfer)
		pass(2 * time.Minute)
		if got := raised(); !slices.Equal(got, []string{"certificate-secondary"}) {
			t.Errorf("on the leader: raised %q", got)
		}
		f.change("secondary", func(m *cluster.MemberView) { m.Fault = "timeout" })
		pass(30 * time.Minute)
		if got := raised(); len(got) != 1 {
			t.Errorf("while it is away: raised %q, want what it said last", got)
		}
		f.change("secondary", func(m *cluster.MemberView) { m.Fault = "" })
		f.answer("secondary", ends(700))
		pass(12 * time.Minute)
		if got := raised(); len(got) > 0 {
			t.Errorf("once it was renewed: raised %q", got)
		}
		cancel()
		<-done
	})
}

// The end of an authority alerts as the end of a certificate does: of several in a file the first.
func TestTheMetricHasTheEndOfEachFileOfCertificates(t *testing.T) {
	year := time.Now().Add(365 * 24 * time.Hour).Unix()
	for name, c := range map[string]struct {
		path        string
		least, most int64
		unreadable  bool
	}{
		"none":       {},
		"one":        {path: certFile(t, 400), least: year + 30*86400, most: year + 40*86400},
		"two":        {path: certFile(t, 900, 20), least: time.Now().Unix() + 19*86400, most: time.Now().Unix() + 21*86400},
		"unreadable": {path: filepath.Join(t.TempDir(), "absent"), unreadable: true},
	} {
		got := expiry(c.path)
		if math.IsNaN(got) != c.unreadable || !c.unreadable && (int64(got) < c.least || int64(got) > c.most) {
			t.Errorf("%s: got %v, want %d to %d, unreadable %v", name, got, c.least, c.most, c.unreadable)
		}
	}
}
