package api

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// The limits that deploy/SECURITY.md promises are the ones in force.
func TestSecurityPageNamesTheLimits(t *testing.T) {
	page, err := os.ReadFile("../deploy/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	srv := Server(http.NotFoundHandler())
	for _, want := range []string{
		fmt.Sprintf("%d KiB of body", maxBodyBytes>>10), fmt.Sprintf("%d KiB of head", srv.MaxHeaderBytes>>10),
		fmt.Sprintf("%.0f s for the head, %.0f s for all", srv.ReadHeaderTimeout.Seconds(), srv.ReadTimeout.Seconds()),
		fmt.Sprintf("%d from one network", maxFromOneNetwork), fmt.Sprintf("%d in all", maxConnections),
		fmt.Sprintf("%d being submitted, %d waiting", maxTaking, maxWaiting), fmt.Sprintf("Of scrapes: %d at a time", maxScrapes),
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("SECURITY.md does not say %q", want)
		}
	}
}
