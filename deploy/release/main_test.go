package main

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	links = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`) // within the sources
	ours  = regexp.MustCompile(`^[a-z]+/`)
	named = regexp.MustCompile("`([a-zA-Z0-9_./-]+)`")
)

// Whoever has unpacked an archive finds in it what its documents lead to.
func TestWhatTheDocumentsLeadToIsInTheArchive(t *testing.T) {
	t.Chdir("../..")
	carried := map[string]bool{}
	for _, name := range documents {
		carried[name] = true
	}
	all, err := deployed()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		carried[e.name] = true
	}
	found := 0
	for name := range carried {
		if path.Ext(name) != ".md" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range links.FindAllStringSubmatch(string(text), -1) {
			found++
			if target := path.Join(path.Dir(name), m[1]); !carried[target] && !carriesPartOf(carried, target) {
				t.Errorf("%s leads to %s, which is not in the archive", name, target)
			}
		}
		if name == "CONTRIBUTING.md" || name == "test/README.md" {
			continue // they speak of the sources
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			if info, err := os.Stat(m[1]); err == nil && !info.IsDir() && ours.MatchString(m[1]) && !carried[m[1]] {
				t.Errorf("%s names %s, which is not in the archive", name, m[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d links were found", found)
	}
}

func carriesPartOf(carried map[string]bool, folder string) bool {
	for name := range carried {
		if strings.HasPrefix(name, folder+"/") {
			return true
		}
	}
	return false
}
