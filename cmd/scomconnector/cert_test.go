package main

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"scomconnector/cmd/settings/pki"
)

func TestCertShowForPrograms(t *testing.T) {
	ca, out := filepath.Join(t.TempDir(), "ca"), filepath.Join(t.TempDir(), "n1")
	for _, args := range [][]string{{"cert", "ca", "--out", ca}, {"cert", "issue", "--ca", ca, "--node", "n1", "--host", "scomc1.contoso.com", "--out", out}} {
		if o, errs, code := typed("", args...); code != 0 {
			t.Fatalf("%v: %d %s%s", args, code, o, errs)
		}
	}
	text, errs, code := typed("", "cert", "show", filepath.Join(out, "cluster.crt"), "--json")
	var all []pki.Described
	if err := json.Unmarshal([]byte(text), &all); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v: %s%s", code, err, text, errs)
	}
	years := time.Until(all[0].NotAfter).Hours() / 24 / 365
	if c := all[0]; len(all) != 1 || c.Authority || len(c.Names) < 2 || c.Names[0] != "n1" || c.Issuer == "" || len(c.SHA256) != 64 || years < 1.9 || years > 2.1 {
		t.Errorf("got %+v", all)
	}
}
