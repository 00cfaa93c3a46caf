package main

import (
	"strings"
	"testing"
)

// PowerShell's > writes UTF-16: sealed as it is, the password would be a wrong one that nobody can see.
func TestASecretInUTF16IsNotSealed(t *testing.T) {
	if got, err := pipedSecret(strings.NewReader("\xff\xfep\x00w\x00")); err == nil || !strings.Contains(err.Error(), "UTF-16") {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := pipedSecret(strings.NewReader("\xef\xbb\xbfpw\r\n")); got != "pw" || err != nil { // as Windows' editors write it
		t.Errorf("got %q, %v, want pw", got, err)
	}
}
