package v1

import "testing"

func TestSentenceIsStateCauseAndCure(t *testing.T) {
	for want, v := range map[string]Verdict{
		"NOT DELIVERING since 03:02 (02:02 UTC): LAM lam1 answers 401. Do: check AuthTokenCode": {Text: "NOT DELIVERING since 03:02 (02:02 UTC): LAM lam1 answers 401", Do: "check AuthTokenCode"},
		"Delivering, but alone. Do: start b":                                                    {Text: "Delivering, but alone. ", Do: "start b"},
		"Delivering.":                                                                           {Text: "Delivering."},
	} {
		if got := v.Sentence(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
