package main

import (
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"scomconnector/api/client"
)

// Who has no node.json at the usual place is told so before anything else: the address that was asked then is only a guess.
func TestWithoutANodeFileThatIsSaidFirst(t *testing.T) {
	for want, missing := range map[string]error{
		"no node.json was found at /etc/x/node.json, so the usual address was asked: cannot reach http://127.0.0.1:1": fs.ErrNotExist,
		"this account may not look for /etc/x/node.json, so the usual address was asked: cannot reach":                fs.ErrPermission,
	} {
		c := client.New("http://127.0.0.1:1", "")
		c.HTTP.Transport = guessed{http.DefaultTransport, "/etc/x/node.json", missing}
		_, err := c.Status(t.Context())
		err = advised(err)
		var h hinted
		if !errors.As(err, &h) || !strings.HasPrefix(err.Error(), want) || h.hint == "" {
			t.Errorf("got %v, hint %q, want %s", err, h.hint, want)
		}
	}
}

// On Windows the program is on no PATH, installed or not.
func TestTheInstalledProgramIsCalledWhereItLies(t *testing.T) {
	for system, want := range map[string]string{"linux": "scomconnector", "windows": `.\scomconnector.exe`} {
		if got := installed(system); got != want {
			t.Errorf("on %s: %s, want %s", system, got, want)
		}
	}
}
