package v1

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestSentenceIsStateCauseAndCure(t *testing.T) {
	for want, v := range map[string]Verdict{
		"NOT DELIVERING since 03:02 CET (02:02 UTC): LAM lam1 answers 401. Do: check AuthTokenCode": {Text: "NOT DELIVERING since 03:02 CET (02:02 UTC): LAM lam1 answers 401", Do: "check AuthTokenCode"},
		"Delivering, but alone. Do: start b": {Text: "Delivering, but alone. ", Do: "start b"},
		"Delivering.":                        {Text: "Delivering."},
	} {
		if got := v.Sentence(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// What has never been has no time: a script that reads the year 1 takes it for a very long outage.
func TestATimeThatNeverWasIsLeftOut(t *testing.T) {
	s := Status{Time: time.Unix(1, 0), Pipelines: []Pipeline{{}}, SCOM: []Console{{Features: &ConsoleFeatures{}}}, LAMs: []LAM{{}}, Members: []Member{{}}, Certificates: []Certificate{{}}}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "0001-01-01") {
		t.Errorf("got %s", b)
	}
}
