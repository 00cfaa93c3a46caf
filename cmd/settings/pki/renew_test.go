package pki

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func renew(a *Authority, dir, nodeID, host string, now time.Time) (Renewed, error) {
	return a.Renew(filepath.Join(dir, NodeCert), filepath.Join(dir, AuthorityCert), nodeID, host, now)
}

// A renewed certificate has the same key, and also one that has ended can be renewed.
func TestRenewKeepsTheKeyAndTheFilesRights(t *testing.T) {
	a := authority(t, start)
	for name, now := range map[string]time.Time{"in time": start.AddDate(1, 10, 0), "too late": start.AddDate(3, 0, 0)} {
		dir := issue(t, a, "primary", "scomc1", start)
		file := filepath.Join(dir, NodeCert)
		if err := os.Chmod(file, 0o640); err != nil {
			t.Fatal(err)
		}
		before, key := leaf(t, dir, NodeCert), text(t, dir, NodeKey)
		r, err := renew(a, dir, "primary", "scomc9", now)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		after := leaf(t, dir, NodeCert)
		if !r.Before.Equal(before.NotAfter) || !r.Ends.Equal(now.AddDate(2, 0, 0)) || !after.NotAfter.Equal(r.Ends) {
			t.Errorf("%s: told %+v, the file ends %v", name, r, after.NotAfter)
		}
		if !bytes.Equal(before.RawSubjectPublicKeyInfo, after.RawSubjectPublicKeyInfo) || text(t, dir, NodeKey) != key {
			t.Errorf("%s: the key has changed", name)
		}
		if got := strings.Join(names(after), " "); got != "primary scomc9" {
			t.Errorf("%s: it names %s, want the host that node.json has now", name, got)
		}
		if after.SerialNumber.Cmp(before.SerialNumber) == 0 {
			t.Errorf("%s: the serial number is the old one", name)
		}
		if info, _ := os.Stat(file); runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 {
			t.Errorf("%s: the mode is %v now", name, info.Mode())
		}
		if got := listing(t, dir); got != "cluster-ca.crt cluster.crt cluster.key" {
			t.Errorf("%s: the folder holds %s", name, got)
		}
	}
}

func text(t testing.TB, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The file of a node may be a link into a folder that others keep.
func TestRenewFollowsALink(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("a link needs rights there that tests do not have")
		return
	}
	a := authority(t, start)
	dir := issue(t, a, "primary", "", start)
	real := filepath.Join(t.TempDir(), "kept.crt")
	if err := errors.Join(os.Rename(filepath.Join(dir, NodeCert), real), os.Symlink(real, filepath.Join(dir, NodeCert))); err != nil {
		t.Fatal(err)
	}
	if _, err := renew(a, dir, "primary", "", start.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(real); err != nil || !info.Mode().IsRegular() || !leaf(t, filepath.Dir(real), "kept.crt").NotAfter.Equal(start.AddDate(3, 0, 0)) {
		t.Errorf("the link's target was not renewed: %v, %v", info, err)
	}
}

func TestRenewRefusesWhatWouldCutTheNodeOff(t *testing.T) {
	a, other := authority(t, start), authority(t, start)
	for name, c := range map[string]struct {
		by     *Authority
		nodeID string
		break_ func(t *testing.T, dir string)
		want   string
		is     error
	}{
		"another authority": {other, "primary", nil, "a certificate of this authority is not vouched for by", ErrNotVouched},
		"another node":      {a, "secondary", nil, "is not of node secondary", nil},
		"a stranger's certificate": {a, "primary", func(t *testing.T, dir string) {
			n, _ := other.Issue("primary", "", start)
			os.WriteFile(filepath.Join(dir, NodeCert), n.Files[0].Text, 0o600)
		}, "cluster.crt is not vouched for by", ErrNotVouched},
		"no certificate": {a, "primary", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, NodeCert)) }, syscall.ENOENT.Error(), os.ErrNotExist},
		"no authority":   {a, "primary", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, AuthorityCert)) }, syscall.ENOENT.Error(), os.ErrNotExist},
		"a broken one": {a, "primary", func(t *testing.T, dir string) {
			os.WriteFile(filepath.Join(dir, NodeCert), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600)
		}, "read the certificate in", nil},
	} {
		dir := issue(t, a, "primary", "", start)
		if c.break_ != nil {
			c.break_(t, dir)
		}
		before := listing(t, dir)
		was, _ := os.ReadFile(filepath.Join(dir, NodeCert))
		_, err := renew(c.by, dir, c.nodeID, "", start)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
		if is, _ := os.ReadFile(filepath.Join(dir, NodeCert)); listing(t, dir) != before || !bytes.Equal(is, was) {
			t.Errorf("%s: something was changed", name)
		}
	}
}

// While CaFile holds both authorities, certificates go over from the old one to the new.
func TestRenewGoesOverToANewAuthority(t *testing.T) {
	a, next := authority(t, start), authority(t, start.AddDate(9, 0, 0))
	dir := issue(t, a, "primary", "", start.AddDate(8, 6, 0))
	files, err := next.Files()
	if err != nil {
		t.Fatal(err)
	}
	both := text(t, dir, AuthorityCert) + string(files[0].Text)
	if err := os.WriteFile(filepath.Join(dir, AuthorityCert), []byte(both), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := renew(next, dir, "primary", "", start.AddDate(9, 1, 0)); err != nil {
		t.Fatal(err)
	}
	if got := leaf(t, dir, NodeCert).Issuer.CommonName; got != next.cert.Subject.CommonName {
		t.Errorf("it is signed by %s", got)
	}
}

// FuzzRead: a file of certificates may be anything.
func FuzzRead(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte(authorityCertNote))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(dir, "f")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := read(file); (err == nil) != (len(all) > 0) {
			t.Errorf("got %d certificates, %v", len(all), err)
		}
	})
}
