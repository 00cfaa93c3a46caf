package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that test/README.md names is there, by its whole name or by the beginning that several share.
func TestTestsThatTheReadmeNamesExist(t *testing.T) {
	declared := ""
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") && !strings.Contains(path, "clustertest") || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		declared += string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*`).FindAllString(string(text), -1)
	for _, name := range names {
		if !strings.Contains(declared, "\nfunc "+name) {
			t.Errorf("README.md names %s, which is not there", name)
		}
	}
	if len(names) < 50 {
		t.Errorf("only %d names found: has the README's form changed?", len(names))
	}
}
