package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func runbook(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../deploy/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// headings of a page in Markdown, as anchors.
func headings(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		slug := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return all
}

// Every alert has its steps, under the address that the rule itself names, and every link of the runbook leads somewhere.
func TestEachAlertHasItsStepsInTheRunbook(t *testing.T) {
	rules, err := os.ReadFile("../deploy/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := runbook(t)
	anchors := headings(text)
	alerts := regexp.MustCompile(`(?m)^\s*- alert: (\S+)`).FindAllStringSubmatch(string(rules), -1)
	if len(alerts) < 5 {
		t.Fatalf("only %d alerts found: has the form of rules.yaml changed?", len(alerts))
	}
	for _, m := range alerts {
		if anchor := strings.ToLower(m[1]); !anchors[anchor] {
			t.Errorf("RUNBOOK.md has no section for %s", m[1])
		} else if !strings.Contains(string(rules), "deploy/RUNBOOK.md#"+anchor) {
			t.Errorf("rules.yaml does not name RUNBOOK.md#%s", anchor)
		}
	}
	for _, m := range regexp.MustCompile(`\]\(#([^)]+)\)`).FindAllStringSubmatch(text, -1) {
		if !anchors[m[1]] {
			t.Errorf("RUNBOOK.md links to #%s, which is not there", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`((?:prometheus|moogsoft|grafana)/[\\w./-]+|[\\w-]+\\.cfg)`").FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join("../deploy", m[1])); err != nil {
			t.Errorf("RUNBOOK.md names %s: %v", m[1], err)
		}
	}
}

// commandsOf are the runbook's command lines, those in blocks and those in the text.
func commandsOf(text string) (blocks, inline []string) {
	fenced := regexp.MustCompile("(?ms)^ *```\n(.*?)^ *```$")
	for _, m := range fenced.FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(m[1]) {
			blocks = append(blocks, strings.TrimSpace(line))
		}
	}
	for _, m := range regexp.MustCompile("`((?:sudo )?(?:\\./)?scomconnector [^`\n]+)`").FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		inline = append(inline, m[1])
	}
	return blocks, inline
}

// The runbook's commands are run as they stand, beside a pair that works, as far as they need no machine of their own: whoever is
// paged must not be the first to type them.
func TestTheRunbooksCommandsWork(t *testing.T) {
	p := newPlant(t, plantOptions{nodes: 2, node: `"Timing": "lan",`})
	for i, name := range []string{"primary", "secondary"} { // as init names them
		for _, pr := range p.procs {
			file := filepath.Join(pr.dir, "node.json")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p.put(file, strings.ReplaceAll(string(text), `"n`+string(rune('1'+i))+`"`, `"`+name+`"`))
		}
		p.procs[i].id = name
	}
	for _, pr := range p.procs {
		pr.start()
	}
	await(t, "the Primary leads", 30*time.Second, p.procs[0].leads)
	awaitVoters(t, p.procs[0], 2)
	node := filepath.Join(p.procs[0].dir, "node.json")
	blocks, inline := commandsOf(runbook(t))
	ran := 0
	for _, line := range append(blocks, inline...) {
		line, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(line, "sudo "), "./"), " > ")
		words := fields(line)
		if words[0] != "scomconnector" || strings.Contains(line, "--help") {
			continue
		}
		args := words[1:]
		what := strings.Join(args[:min(2, len(args))], " ")
		switch {
		case args[0] == "service", what == "cert renew", what == "config apply", what == "config rollback":
			continue // of another machine, or with files of its own: tested elsewhere
		case what == "members remove", args[0] == "takeover", args[0] == "migrate":
			continue // they must not work here
		case args[0] == "init":
			args = append(args, "--out", filepath.Join(t.TempDir(), "nodes"))
			args = replaced(args, "SCOMConnectorInstaller/Configs/SCOMConnectorConfig.json", sample)
		case args[0] == "upgrade-check":
			args = replaced(args, "http://scomc1.contoso.com:8085", p.procs[0].url)
		default:
			args = append(args, "--node", node)
		}
		if what == "cursors rewind" {
			args = append(args, "--yes")
		}
		if code, out := scomconnector(t, nil, args...); code != 0 {
			t.Errorf("%s: exit code %d\n%s", line, code, out)
		}
		ran++
	}
	if ran < 12 {
		t.Errorf("only %d commands were run: has the runbook's form changed?", ran)
	}
}

// Until the service is installed the program lies in the release's folder and on no PATH, and what init made is only its owner's.
func TestTheRunbookInstallsFromTheReleasesFolder(t *testing.T) {
	_, text, _ := strings.Cut(runbook(t), "## Install a pair")
	text, _, _ = strings.Cut(text, "   sudo scomconnector service start\n")
	blocks, _ := commandsOf(text + "```\n")
	seen := 0
	for _, line := range blocks {
		words := fields(line)
		if words[0] == "./scomconnector" && words[1] == "init" {
			continue
		}
		if words[0] != "sudo" || words[1] != "./scomconnector" {
			t.Errorf("%s: want sudo ./scomconnector", line)
		}
		seen++
	}
	if seen < 3 {
		t.Errorf("only %d commands were seen: has the run-book's form changed?", seen)
	}
}

// fields splits a line as a shell does, with single quotes.
func fields(line string) []string {
	var all []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			all = append(all, part)
			continue
		}
		all = append(all, strings.Fields(part)...)
	}
	return all
}

func replaced(args []string, was, is string) []string {
	var all []string
	for _, a := range args {
		all = append(all, strings.ReplaceAll(a, was, is))
	}
	return all
}
