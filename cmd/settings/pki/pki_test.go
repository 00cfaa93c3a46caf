package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func authority(t testing.TB, now time.Time) *Authority {
	t.Helper()
	a, err := NewAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// put writes what Files or Issue made.
func put(t testing.TB, dir string, files []File, err error) string {
	t.Helper()
	if err == nil {
		err = Write(dir, files)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func issue(t testing.TB, a *Authority, nodeID, host string, now time.Time) string {
	t.Helper()
	n, err := a.Issue(nodeID, host, now)
	if err != nil {
		t.Fatal(err)
	}
	return put(t, filepath.Join(t.TempDir(), nodeID), n.Files, nil)
}

func leaf(t testing.TB, dir, name string) *x509.Certificate {
	t.Helper()
	all, err := read(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

func TestTheAuthorityIsForNodesOnly(t *testing.T) {
	a := authority(t, start)
	c := a.cert
	if !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(c.ExtKeyUsage) != 2 {
		t.Errorf("it may do something else: CA %v, path %d, usage %b, %v", c.IsCA, c.MaxPathLen, c.KeyUsage, c.ExtKeyUsage)
	}
	if want := time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC); !a.Ends().Equal(want) {
		t.Errorf("it ends %v, want %v", a.Ends(), want)
	}
	// What a node's key signs is believed by nobody, whatever it claims to be.
	n, err := a.Issue("primary", "", start)
	if err != nil {
		t.Fatal(err)
	}
	dir := put(t, t.TempDir(), []File{{AuthorityCert, n.Files[0].Text}, {AuthorityKey, n.Files[1].Text}}, nil)
	if _, err := ReadAuthority(dir); err == nil || !strings.Contains(err.Error(), "is no authority's certificate") {
		t.Errorf("a node's certificate as an authority: got %v", err)
	}
}

func TestANodesCertificate(t *testing.T) {
	a := authority(t, start)
	for _, c := range []struct{ id, host, names string }{
		{"primary", "", "primary"},
		{"primary", "scomc1.contoso.com", "primary, scomc1.contoso.com"},
		{"primary", "Primary", "primary"},
		{"primary", "10.0.0.7", "primary, 10.0.0.7"},
		{"10.0.0.7", "fe80::1", "10.0.0.7, fe80::1"},
		{"SCOM_C1", "", "SCOM_C1"},
		{strings.Repeat("n", 64), "", strings.Repeat("n", 64)},
	} {
		cert := leaf(t, issue(t, a, c.id, c.host, start), NodeCert)
		if got := strings.Join(names(cert), ", "); got != c.names {
			t.Errorf("%s at %s: it names %s, want %s", c.id, c.host, got, c.names)
		}
		if err := vouched(cert, []*x509.Certificate{a.cert}, start); err != nil || cert.VerifyHostname(c.id) != nil {
			t.Errorf("%s: %v, %v", c.id, err, cert.VerifyHostname(c.id))
		}
		if cert.IsCA || cert.SerialNumber.BitLen() < 64 || cert.SerialNumber.Sign() <= 0 {
			t.Errorf("%s: CA %v, serial number %x", c.id, cert.IsCA, cert.SerialNumber)
		}
		if from, until := start.Add(-24*time.Hour), time.Date(2028, 1, 2, 3, 4, 5, 0, time.UTC); !cert.NotBefore.Equal(from) || !cert.NotAfter.Equal(until) {
			t.Errorf("%s: from %v until %v, want %v until %v", c.id, cert.NotBefore, cert.NotAfter, from, until)
		}
	}
	one, two := leaf(t, issue(t, a, "n", "", start), NodeCert), leaf(t, issue(t, a, "n", "", start), NodeCert)
	if one.SerialNumber.Cmp(two.SerialNumber) == 0 || string(one.RawSubjectPublicKeyInfo) == string(two.RawSubjectPublicKeyInfo) {
		t.Error("two certificates have one serial number or one key")
	}
}

func TestNoCertificateForWhatIsNoName(t *testing.T) {
	a := authority(t, start)
	for _, c := range []struct{ id, host, want string }{
		{"", "", `"" is no NodeID`},
		{"*", "", `"*" is no NodeID`},
		{"*.contoso.com", "", `"*.contoso.com" is no NodeID`},
		{"a b", "", `"a b" is no NodeID`},
		{"a\n-----BEGIN", "", `is no NodeID`},
		{strings.Repeat("n", 65), "", "is no NodeID"},
		{"n", "*", `"*" is no host name`},
		{"n", "scomc1:8086", `"scomc1:8086" is no host name`},
		{"n", strings.Repeat("n", 254), "is no host name"},
		{".", "", "the NodeID"},
	} {
		if _, err := a.Issue(c.id, c.host, start); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q at %q: got %v, want %s", c.id, c.host, err, c.want)
		}
	}
}

func TestNoCertificateOutlivesItsAuthority(t *testing.T) {
	a := authority(t, start)
	n, err := a.Issue("primary", "", start.AddDate(9, 0, 0))
	if err != nil || !n.Ends.Equal(a.Ends()) {
		t.Errorf("in the last years it ends %v, want %v; %v", n.Ends, a.Ends(), err)
	}
	if _, err := a.Issue("primary", "", start.AddDate(10, 0, 1)); err == nil || !strings.Contains(err.Error(), "the authority ended on 2036-01-02: make a new one") {
		t.Errorf("after its end: got %v", err)
	}
}

// TestFilesSayWhatTheyAre: an operator who opens one sees what it is for, and whether it is a secret.
func TestFilesSayWhatTheyAre(t *testing.T) {
	a := authority(t, start)
	files, err := a.Files()
	dir := put(t, filepath.Join(t.TempDir(), "ca"), files, err)
	node := issue(t, a, "primary", "scomc1", start)
	for path, want := range map[string]string{
		filepath.Join(dir, AuthorityKey):   "KEEP THIS SECRET, and off the nodes",
		filepath.Join(dir, AuthorityCert):  "until 2036-01-02. This file is no secret",
		filepath.Join(node, AuthorityCert): "until 2036-01-02. This file is no secret",
		filepath.Join(node, NodeKey):       "KEEP THIS SECRET: the key of node primary",
		filepath.Join(node, NodeCert):      "certificate of node primary for its connections to the other nodes, until 2028-01-02. This file is no secret.\nIt names primary, scomc1.",
	} {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v\n%s\nwant in it %s", path, err, text, want)
		}
		if info, _ := os.Stat(path); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	if info, _ := os.Stat(dir); runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("the authority's folder has mode %v", info.Mode())
	}
	again, err := ReadAuthority(dir)
	if err != nil || !again.cert.Equal(a.cert) {
		t.Fatalf("read back: %v", err)
	}
	if err := vouched(leaf(t, issue(t, again, "witness", "", start), NodeCert), []*x509.Certificate{a.cert}, start); err != nil {
		t.Error(err)
	}
}

func TestNothingIsOverwrittenAndNothingIsHalfWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "b"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, []File{{"a", nil}, {"b", nil}}); !errors.Is(err, ErrExists) {
		t.Errorf("got %v, want ErrExists", err)
	}
	if err := Write(dir, []File{{"a", nil}, {"no/folder", nil}}); err == nil {
		t.Error("a file in a folder that is not there was written")
	}
	if got := listing(t, dir); got != "b" {
		t.Errorf("the folder holds %s", got)
	}
}

func listing(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestAnAuthorityThatCannotBeUsed(t *testing.T) {
	a, other := authority(t, start), authority(t, start)
	files, _ := a.Files()
	others, _ := other.Files()
	for name, c := range map[string]struct {
		files []File
		want  string
	}{
		"nothing":         {nil, syscall.ENOENT.Error()},
		"no key":          {files[:1], syscall.ENOENT.Error()},
		"another's key":   {[]File{files[0], others[1]}, "private key does not match public key"},
		"no certificate":  {[]File{{AuthorityCert, []byte("hello")}, files[1]}, "failed to find any PEM data"},
		"a key that ends": {[]File{files[0], {AuthorityKey, files[1].Text[:400]}}, "failed to find any PEM data"},
	} {
		dir := put(t, t.TempDir(), c.files, nil)
		if _, err := ReadAuthority(dir); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestShow(t *testing.T) {
	a := authority(t, start)
	dir := issue(t, a, "primary", "scomc1", start)
	both := filepath.Join(dir, "both")
	one, _ := os.ReadFile(filepath.Join(dir, NodeCert))
	two, _ := os.ReadFile(filepath.Join(dir, AuthorityCert))
	if err := os.WriteFile(both, append(one, two...), 0o600); err != nil {
		t.Fatal(err)
	}
	for now, want := range map[time.Time]string{
		start:                         "primary: a node's certificate\n  names      primary, scomc1\n  valid      2026-01-01 to 2028-01-02, 730 days left\n  signed by  scomconnector nodes, 2026-01-02\n",
		start.AddDate(0, 0, -3):       "which has not begun",
		start.AddDate(2, 0, 1):        "which is over",
		start.AddDate(2, 0, -1):       "24 hours left",
		start.Add(time.Second):        "scomconnector nodes, 2026-01-02: an authority\n  valid      2026-01-01 to 2036-01-02, 365",
		start.AddDate(0, 0, 1).UTC():  "\n  SHA-256    ",
		start.AddDate(0, 0, 2).UTC():  "\n  serial     ",
		start.AddDate(1, 11, 0).UTC(): " 31 days left",
	} {
		var b bytes.Buffer
		if err := Show(&b, both, now); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("at %v: %v\n%s\nwant in it\n%s", now, err, b.String(), want)
		}
	}
	if err := Show(new(bytes.Buffer), filepath.Join(dir, NodeKey), start); err == nil || !strings.Contains(err.Error(), "holds no certificate in PEM form") {
		t.Errorf("a key: got %v", err)
	}
}

// A machine that is called as another node is does not get that node's name.
func TestNoNodeGoesByAnothersName(t *testing.T) {
	ids := []string{"primary", "secondary"}
	for _, c := range []struct{ id, host, want string }{
		{"primary", "scomc1", "scomc1"},
		{"primary", "primary", "primary"},
		{"primary", "Secondary", ""},
		{"secondary", "primary", ""},
	} {
		if got := HostOf(c.id, c.host, ids); got != c.want {
			t.Errorf("%s at %s: got %q, want %q", c.id, c.host, got, c.want)
		}
	}
}
