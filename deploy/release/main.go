// Command release builds the archives that operators get: for each platform the binary, what there is to read, and deploy/. It is
// reproducible: the same sources and the same Go make the same bytes, wherever and whenever, so that anybody can check SHA256SUMS.
//
//	go run ./deploy/release -version v1.0.0 -out dist
package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	version := flag.String("version", "dev", "what scomconnector version says")
	out := flag.String("out", "dist", "folder for the archives")
	targets := flag.String("targets", "linux/amd64,linux/arm64,windows/amd64", "GOOS/GOARCH, with commas")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := release(ctx, *version, *out, strings.Split(*targets, ","))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// documents are there to read beside deploy/: the README, and what it leads to.
var documents = []string{"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "api/openapi.yaml", "test/README.md"}

// entry is one file of an archive.
type entry struct {
	name string // within the archive
	path string
	exec bool
}

func release(ctx context.Context, version, out string, targets []string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	stamp, err := when(ctx)
	if err != nil {
		return err
	}
	var sums []string
	for _, target := range targets {
		goos, arch, ok := strings.Cut(target, "/")
		if !ok {
			return fmt.Errorf("%q is not GOOS/GOARCH", target)
		}
		name := fmt.Sprintf("scomconnector-%s-%s-%s", version, goos, arch)
		file, err := one(ctx, version, out, name, goos, arch, stamp)
		if err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
		sum, err := hash(filepath.Join(out, file))
		if err != nil {
			return err
		}
		sums = append(sums, fmt.Sprintf("%x  %s\n", sum, file))
		fmt.Println(filepath.Join(out, file))
	}
	slices.Sort(sums)
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(strings.Join(sums, "")), 0o644)
}

// when is the time on all files: SOURCE_DATE_EPOCH, or the commit's, so that the hour of the build does not show.
func when(ctx context.Context) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		commit, err := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("the commit's time is not known; SOURCE_DATE_EPOCH gives another: %w", err)
		}
		text = strings.TrimSpace(string(commit))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// one builds for one platform and packs it.
func one(ctx context.Context, version, out, name, goos, arch string, stamp time.Time) (string, error) {
	binary := "scomconnector"
	if goos == "windows" {
		binary += ".exe"
	}
	built := filepath.Join(out, name+".bin")
	defer os.Remove(built)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version="+version, "-o", built, "./cmd/scomconnector")
	// Nothing of the builder's own settings may show in the result.
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, text)
	}
	entries := []entry{{binary, built, true}}
	for _, file := range documents {
		entries = append(entries, entry{name: file, path: filepath.FromSlash(file)})
	}
	deploy, err := deployed()
	if err != nil {
		return "", err
	}
	entries = append(entries, deploy...)
	if goos == "windows" {
		return name + ".zip", create(filepath.Join(out, name+".zip"), func(w io.Writer) error { return packZip(w, name, entries, stamp) })
	}
	return name + ".tar.gz", create(filepath.Join(out, name+".tar.gz"), func(w io.Writer) error { return packTar(w, name, entries, stamp) })
}

// deployed is everything of deploy/ that is not Go.
func deployed() ([]entry, error) {
	var all []entry
	err := filepath.WalkDir("deploy", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "release":
			return fs.SkipDir
		case d.Type().IsRegular() && filepath.Ext(p) != ".go":
			all = append(all, entry{name: filepath.ToSlash(p), path: p})
		}
		return nil
	})
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return all, err
}

func create(file string, pack func(io.Writer) error) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(pack(f), f.Close())
}

func mode(e entry) fs.FileMode {
	if e.exec {
		return 0o755
	}
	return 0o644
}

func packTar(w io.Writer, dir string, entries []entry, stamp time.Time) error {
	zw, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(zw)
	for _, e := range entries {
		text, err := os.ReadFile(e.path)
		if err != nil {
			return err
		}
		h := &tar.Header{Name: path.Join(dir, e.name), Mode: int64(mode(e)), Size: int64(len(text)), ModTime: stamp, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := tw.Write(text); err != nil {
			return err
		}
	}
	return errors.Join(tw.Close(), zw.Close())
}

func packZip(w io.Writer, dir string, entries []entry, stamp time.Time) error {
	zw := zip.NewWriter(w)
	for _, e := range entries {
		text, err := os.ReadFile(e.path)
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: path.Join(dir, e.name), Method: zip.Deflate, Modified: stamp}
		h.SetMode(mode(e))
		fw, err := zw.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := fw.Write(text); err != nil {
			return err
		}
	}
	return zw.Close()
}

func hash(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return h.Sum(nil), err
}
