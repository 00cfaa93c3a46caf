package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"scomconnector/publisher/publishertest"
)

// What the simulated SCOM had before the demo began was shown as delivered half an hour late.
func TestTheDemoTellsHowSoonOnlyOfWhatHappenedInIt(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		modified, at time.Duration // since the demo began
		want         string
	}{
		{-30 * time.Minute, time.Second, ""},
		{5 * time.Second, 6200 * time.Millisecond, "1.2 s after SCOM"},
	} {
		var out bytes.Buffer
		body := fmt.Sprintf(`{"source":"h","type":"t","severity":5,"custom_info":{"scom":{"lastModified":%q}}}`, began.Add(c.modified).Format(time.RFC3339Nano))
		printEvent(&out, publishertest.Event{At: began.Add(c.at), Body: []byte(body)}, began)
		if got := out.String(); !strings.Contains(got, "critical") || !strings.Contains(got, c.want) || c.want == "" && strings.Contains(got, "after SCOM") {
			t.Errorf("modified %v after the start: got %q, want it to end with %q", c.modified, got, c.want)
		}
	}
}
