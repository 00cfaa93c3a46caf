package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"scomconnector/cmd/settings"
)

// readme is README.md, and what it promises in the form of code.
type readme struct {
	text   string
	blocks []string // fenced
	inline []string
}

func readReadme(t *testing.T) readme {
	t.Helper()
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := readme{text: strings.ReplaceAll(string(b), "\r\n", "\n")}
	fenced := regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$")
	for _, m := range fenced.FindAllStringSubmatch(r.text, -1) {
		r.blocks = append(r.blocks, strings.ReplaceAll(m[1], "\\\n", " "))
	}
	prose := fenced.ReplaceAllString(r.text, "")
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(prose, -1) {
		r.inline = append(r.inline, m[1])
	}
	if len(r.blocks) == 0 || len(r.inline) == 0 {
		t.Fatal("no code in README.md: has its form changed?")
	}
	return r
}

// The address of planned work is that of a form: a browser that opens it changes nothing, and whoever reads so must press its button.
func TestPlannedWorkInABrowserTakesAClick(t *testing.T) {
	button := regexp.MustCompile(`<button type="submit"[^>]*>([^<]+)</button>`)
	form, err := os.ReadFile("../api/maintenance.html")
	if err != nil {
		t.Fatal(err)
	}
	m := button.FindSubmatch(form)
	if m == nil {
		t.Fatal("the form has no button")
	}
	for _, name := range []string{"../README.md", "../deploy/RUNBOOK.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, after, found := strings.Cut(string(text), "/maintenance?node=primary&action=enter`")
		if says, _, _ := strings.Cut(after, "\n"); !found || !strings.Contains(says, "*"+string(m[1])+"*, with the operator token") {
			t.Errorf("%s does not say that its address wants a click on %q and the token", name, m[1])
		}
	}
}

// commandLine finds the program's command and what follows it, whatever way the program is called.
var commandLine = regexp.MustCompile(`(?:^|\s)(?:go run )?(?:\./cmd/|\./)?scomconnector(?:\.exe)? ([a-z][a-z-]*)((?: .*)?)$`)

// Every command line that the README shows, in blocks and in the text, is one that the program knows: the
// command is in --help, its flags in the command's own help.
func TestReadmesCommandLinesAreReal(t *testing.T) {
	r := readReadme(t)
	_, general := scomconnector(t, nil, "--help")
	commands := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z-]+) +\S`).FindAllStringSubmatch(general, -1) {
		_, commands[m[1]] = scomconnector(t, nil, m[1], "--help")
	}
	check := func(line, name, rest string) {
		help, known := commands[name]
		if !known {
			t.Errorf("README shows %q: there is no command %s", line, name)
			return
		}
		for _, f := range regexp.MustCompile(`--[a-z-]+`).FindAllString(rest, -1) {
			if !regexp.MustCompile(regexp.QuoteMeta(f) + `[^a-z-]`).MatchString(help) {
				t.Errorf("README shows %q: %s has no flag %s", line, name, f)
			}
		}
	}
	n := 0
	for _, block := range r.blocks {
		for line := range strings.Lines(block) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "  #")
			if m := commandLine.FindStringSubmatch(strings.TrimSpace(line)); m != nil && !strings.Contains(line, "go build") {
				check(line, m[1], m[2])
				n++
			}
		}
	}
	for _, code := range r.inline {
		if m := commandLine.FindStringSubmatch(code); m != nil {
			check(code, m[1], m[2])
			n++
		} else if name, rest, _ := strings.Cut(code, " "); strings.Contains(rest, "--") {
			check(code, name, rest)
			n++
		}
	}
	if n < 5 {
		t.Errorf("only %d command lines found: has the README's form changed?", n)
	}
}

// The two commands that need nothing but Go. Both run elsewhere: the one here, the other by whoever runs this.
func TestReadmeBeginsWithTheTwoCommands(t *testing.T) {
	r := readReadme(t)
	if want := "go run ./cmd/scomconnector demo\ngo test ./...\n"; r.blocks[0] != want {
		t.Errorf("the first block is %q, want %q", r.blocks[0], want)
	}
	if _, err := os.Stat("../cmd/scomconnector/main.go"); err != nil {
		t.Error(err)
	}
}

// Addresses are those that openapi.yaml describes, which a test of package api compares with the routes.
func TestReadmesAddressesAreReal(t *testing.T) {
	r := readReadme(t)
	spec, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^  (/\S*):\r?$`).FindAllStringSubmatch(string(spec), -1) {
		paths[m[1]] = true
	}
	n := 0
	for _, code := range r.inline {
		m := regexp.MustCompile(`^(?:(?:GET|POST|PUT) )?(/[a-z0-9/_]*)(?:\?.*)?$`).FindStringSubmatch(code)
		if m == nil {
			continue
		}
		if n++; !paths[m[1]] {
			t.Errorf("README names %s, which openapi.yaml does not", code)
		}
	}
	if n < 4 {
		t.Errorf("only %d addresses found: has the README's form changed?", n)
	}
}

// knownKey asks the settings themselves: a key that is null is as good as not given, an unknown one is a fault.
func knownKey(key string) bool {
	unknown := func(faults settings.Faults) bool { return strings.Contains(faults.Error(), key+": unknown key") }
	text := []byte(`{"` + key + `": null}`)
	_, node := settings.ParseNode("node.json", text, "")
	if _, cluster := settings.ParseCluster("SCOMConnectorConfig.json", text, settings.Options{}); !unknown(node) || !unknown(cluster) {
		return true
	}
	for _, list := range []string{"ScomServers", "MoogServers"} {
		of := []byte(`{"` + list + `": [{"` + key + `": null}]}`)
		if _, faults := settings.ParseCluster("SCOMConnectorConfig.json", of, settings.Options{}); !unknown(faults) {
			return true
		}
	}
	for _, object := range []string{"Etcd", "Tls", "ClusterTls", "Auth", "Log"} {
		of := []byte(`{"` + object + `": {"` + key + `": null}}`)
		if _, faults := settings.ParseNode("node.json", of, ""); !unknown(faults) {
			return true
		}
	}
	return false
}

func TestReadmesKeysAreReal(t *testing.T) {
	if knownKey("NoSuchKey") {
		t.Fatal("the settings take any key")
	}
	r := readReadme(t)
	n := 0
	for _, code := range r.inline {
		if regexp.MustCompile(`^[A-Z][a-z]+([A-Z][A-Za-z]*)?$`).MatchString(code) {
			if n++; !knownKey(code) {
				t.Errorf("README names the key %s, which no settings file knows", code)
			}
		}
		if scheme, _, ok := strings.Cut(code, ":"); ok && regexp.MustCompile(`^(env|file|plain|sealed):[A-Z]+$`).MatchString(code) {
			if _, err := settings.ParseSecret(code, ""); err != nil {
				t.Errorf("README names %s secrets: %v", scheme, err)
			}
		}
	}
	if n < 3 {
		t.Errorf("only %d keys found: has the README's form changed?", n)
	}
}

// The expressions that the README shows compile.
func TestReadmesExpressionsCompile(t *testing.T) {
	n := 0
	for _, block := range readReadme(t).blocks {
		if !strings.HasPrefix(strings.TrimSpace(block), `"`) {
			continue
		}
		n++
		text := `{"ScomServers": [{"ScomAddressHost": "s", "UserId": "u", "Password": "plain:x"}], "MoogServers": [{"MoogUrl": "https://m/e"}], ` + block + "}"
		if _, faults := settings.ParseCluster("README.md", []byte(text), settings.Options{}); len(faults) > 0 {
			t.Errorf("%v in\n%s", faults, block)
		}
	}
	if n == 0 {
		t.Error("no settings shown: has the README's form changed?")
	}
}

// Links lead to files of the repository and to headings of the page.
func TestReadmesLinksResolve(t *testing.T) {
	r := readReadme(t)
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(r.text, -1) {
		slug := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		headings[strings.ReplaceAll(slug, " ", "-")] = true
	}
	links := regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(r.text, -1)
	for _, m := range links {
		target := m[1]
		switch {
		case strings.HasPrefix(target, "https://"):
		case strings.HasPrefix(target, "#"):
			if !headings[target[1:]] {
				t.Errorf("README links to %s: there is no such heading", target)
			}
		default:
			path, _, _ := strings.Cut(target, "#")
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(path))); err != nil {
				t.Errorf("README links to %s: %v", target, err)
			}
		}
	}
	for _, code := range r.inline {
		if regexp.MustCompile(`^(api|test|deploy|cmd|cluster|poller|publisher|\.ci)/[\w./-]+$`).MatchString(code) {
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(code))); err != nil {
				t.Errorf("README names %s: %v", code, err)
			}
		}
	}
	if len(links) == 0 {
		t.Error("no links found: has the README's form changed?")
	}
}
