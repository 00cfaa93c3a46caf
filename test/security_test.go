package test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"scomconnector/cmd/settings"
)

// securityPage is deploy/SECURITY.md.
func securityPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../deploy/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Each address with each method is in the table of who may do what, in the row where it belongs: the tests of package api see that
// the node keeps to that.
func TestSecurityNamesEveryAddress(t *testing.T) {
	b, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	path := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if m := regexp.MustCompile(`^  (/\S*):$`).FindStringSubmatch(line); m != nil {
			path = m[1]
		}
		m := regexp.MustCompile(`^    (get|put|post|delete):$`).FindStringSubmatch(line)
		if m == nil || path == "" {
			continue
		}
		who := "changing"
		switch {
		case slices.Contains([]string{"/healthz", "/readyz", "/leader"}, path):
			who = "probes"
		case path == "/event_post/":
			who = "close requests"
		case m[1] == "get":
			who = "reading"
		}
		want = append(want, strings.ToUpper(m[1])+" "+path+" "+who)
	}
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]*)` \\| ([a-z ]+)").FindAllStringSubmatch(securityPage(t), -1) {
		got = append(got, m[1]+" "+strings.TrimSpace(m[2]))
	}
	slices.Sort(want)
	slices.Sort(got)
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("SECURITY.md lacks %s", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("SECURITY.md has %s, which openapi.yaml has not", g)
		}
	}
}

// Ports are those that init writes, keys and commands are real, and every key of a secret is named.
func TestSecurityNamesRealKeys(t *testing.T) {
	page := securityPage(t)
	template, err := os.ReadFile("../cmd/settings/scaffold/node.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	init, err := os.ReadFile("../cmd/settings/scaffold/init.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"8085", "8086"} {
		if !strings.Contains(page, "| "+port+" |") || !strings.Contains(string(template)+string(init), port) {
			t.Errorf("port %s is not that of both SECURITY.md and init", port)
		}
	}
	all := settings.SecretKeys()
	for _, key := range all {
		if !strings.Contains(page, "`"+key+"`") {
			t.Errorf("SECURITY.md does not name the secret %s", key)
		}
		planted := false
		for where := range canaries {
			planted = planted || strings.Contains(where, key)
		}
		if !planted {
			t.Errorf("no canary stands in %s", key)
		}
	}
	if len(all) < 4 {
		t.Errorf("only the secrets %q", all)
	}
	for _, m := range regexp.MustCompile("`([A-Z][a-z]+(?:[A-Z][A-Za-z]*)?)`").FindAllStringSubmatch(page, -1) {
		known := knownKey(m[1]) || slices.Contains(all, m[1]) || slices.Contains([]string{"ClientCertFile", "CaFile", "InsecureSkipVerify", "RequireClientCert", "OperatorTokenFile", "CallbackTokenFile", "ReadTokenFile", "MoogPublicKey", "Origin"}, m[1])
		if !known && !strings.HasPrefix(m[1], "Scomconnector") {
			t.Errorf("SECURITY.md names the key %s, which no settings file knows", m[1])
		}
	}
	_, help := scomconnector(t, nil, "--help")
	for _, name := range []string{"secret", "init", "check", "cert", "service", "config"} {
		if !strings.Contains(help, "\n  "+name+" ") {
			t.Errorf("SECURITY.md names the command %s, which there is not", name)
		}
	}
}
