package test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// release builds archives of the sources in src, as of that hour.
func release(t *testing.T, src, targets string) (dist string) {
	t.Helper()
	dist = t.TempDir()
	cmd := exec.Command("go", "run", "./deploy/release", "-version", "v9.9.9", "-out", dist, "-targets", targets)
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1767323045")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("release: %v\n%s", err, out)
	}
	return dist
}

// The same sources in two folders make archives of the same bytes, and these hold what an operator needs.
func TestReleasesAreReproducible(t *testing.T) {
	long(t)
	elsewhere := filepath.Join(t.TempDir(), "some other", "place")
	tracked, err := exec.Command("git", "-C", "..", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(tracked), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join("..", name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(elsewhere, name)), 0o755), os.WriteFile(filepath.Join(elsewhere, name), text, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	const targets = "linux/amd64,windows/amd64"
	one, two := release(t, "..", targets), release(t, elsewhere, targets)
	for _, name := range []string{"SHA256SUMS", "scomconnector-v9.9.9-linux-amd64.tar.gz", "scomconnector-v9.9.9-windows-amd64.zip"} {
		a, errA := os.ReadFile(filepath.Join(one, name))
		b, errB := os.ReadFile(filepath.Join(two, name))
		if err := errors.Join(errA, errB); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs between two folders: %v", name, err)
		}
	}
	unpacked := unpack(t, filepath.Join(one, "scomconnector-v9.9.9-linux-amd64.tar.gz"))
	zipped := listed(t, filepath.Join(one, "scomconnector-v9.9.9-windows-amd64.zip"))
	for _, name := range []string{"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "api/openapi.yaml", "test/README.md", "deploy/RUNBOOK.md", "deploy/Dockerfile", "deploy/compose.yaml", "deploy/haproxy.cfg", "deploy/moogsoft/AlertMgr.js"} {
		if _, err := os.Stat(filepath.Join(unpacked, name)); err != nil {
			t.Error(err)
		}
		if !zipped["scomconnector-v9.9.9-windows-amd64/"+name] {
			t.Errorf("the zip has no %s", name)
		}
	}
	if !zipped["scomconnector-v9.9.9-windows-amd64/scomconnector.exe"] {
		t.Error("the zip has no program")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return
	}
	out, err := exec.Command(filepath.Join(unpacked, "scomconnector"), "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "scomconnector v9.9.9 (") {
		t.Errorf("the program says %q, %v", out, err)
	}
	sums := exec.Command("sha256sum", "--check", "SHA256SUMS")
	sums.Dir = one
	if out, err := sums.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// unpack is tar -xzf; it returns the one folder in it.
func unpack(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	top := ""
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return filepath.Join(dir, top)
		}
		if err != nil || !filepath.IsLocal(h.Name) {
			t.Fatalf("%s: %v", h.Name, err)
		}
		top, _, _ = strings.Cut(h.Name, "/")
		text, err := io.ReadAll(tr)
		path := filepath.Join(dir, h.Name)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, h.FileInfo().Mode())); err != nil {
			t.Fatal(err)
		}
	}
}

func listed(t *testing.T, archive string) map[string]bool {
	t.Helper()
	zr, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer zr.Close()
	all := map[string]bool{}
	for _, f := range zr.File {
		all[f.Name] = true
	}
	return all
}
