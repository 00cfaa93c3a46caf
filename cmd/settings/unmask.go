package settings

import (
	"bytes"
	"errors"

	"github.com/tailscale/hujson"
)

// WithoutMasks is the text with something in place of each hidden secret, for who has no older text and looks at all else. Lines and
// their numbers stay.
func WithoutMasks(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte("plain:"+hidden), []byte("plain:hidden"))
}

// errMaskedSecret: taken at its word, "(hidden)" would be tried as a password until the account is locked.
var errMaskedSecret = errors.New(hidden + " is what is shown in place of a secret: write where the secret is kept, or plain: and the secret itself")

// belongs says, for each secret in a list, which keys beside it say whose secret it is and whom it is shown to. A hidden
// one is filled in only where all of them are as they were: an index would give a server that has moved up the password
// of the one before it, and a changed address would be sent the secret of another machine.
var belongs = map[string]map[string][]string{
	"ScomServers": {
		"Password": {"ScomAddressHost", "Url", "Domain", "UserId"},
		"ProxyUrl": {"ScomAddressHost", "Url"},
	},
	"MoogServers": {
		"Password":      {"MoogUrl", "MoogIp", "MoogPort", "Username"},
		"ProxyPassword": {"MoogProxyIP", "MoogProxyPort", "ProxyUsername"},
	},
}

// Unmasked is the text with the plain secrets that Masked has hidden, taken from the text they were hidden in: as a whole
// where nothing else was changed, else one by one where it is clear which is meant. What stays hidden is refused by ParseCluster,
// with its line. A text that does not parse comes back as it is.
func Unmasked(text, from []byte) []byte {
	if bytes.Equal(bytes.TrimSpace(text), bytes.TrimSpace(Masked(from))) {
		return from
	}
	v, fault := parse("", text)
	old, oldFault := parse("", from)
	if fault != nil || oldFault != nil {
		return text
	}
	filled := false
	root, olds := members(&v), members(&old)
	for name, m := range root {
		if isMasked(m) && plainText(olds[name]) != "" {
			m.Value = hujson.String(plainText(olds[name]))
			filled = true
		}
		for _, e := range elements(m) {
			for secret, beside := range belongs[name] {
				if text := foundFor(members(e), secret, beside, elements(olds[name])); text != "" {
					members(e)[secret].Value = hujson.String(text)
					filled = true
				}
			}
		}
	}
	if !filled {
		return text
	}
	return v.Pack()
}

// foundFor is the reference that stood hidden in this element, empty if there is none or more than one that could be meant.
func foundFor(e map[string]*hujson.Value, secret string, beside []string, olds []*hujson.Value) string {
	if !isMasked(e[secret]) {
		return ""
	}
	found := ""
	for _, o := range olds {
		old := members(o)
		text := plainText(old[secret])
		if text == "" || !sameValues(e, old, beside) {
			continue
		}
		if found != "" && found != text {
			return ""
		}
		found = text
	}
	return found
}

func sameValues(a, b map[string]*hujson.Value, names []string) bool {
	for _, name := range names {
		if compact(a[name]) != compact(b[name]) {
			return false
		}
	}
	return true
}

// members are the values of an object by name; none for anything else. Of a name given twice, which is a fault, the last.
func members(v *hujson.Value) map[string]*hujson.Value {
	m := map[string]*hujson.Value{}
	if v == nil {
		return m
	}
	if obj, ok := v.Value.(*hujson.Object); ok {
		for i := range obj.Members {
			m[obj.Members[i].Name.Value.(hujson.Literal).String()] = &obj.Members[i].Value
		}
	}
	return m
}

func elements(v *hujson.Value) []*hujson.Value {
	if v == nil {
		return nil
	}
	arr, ok := v.Value.(*hujson.Array)
	if !ok {
		return nil
	}
	all := make([]*hujson.Value, len(arr.Elements))
	for i := range arr.Elements {
		all[i] = &arr.Elements[i]
	}
	return all
}

func isMasked(v *hujson.Value) bool { return plainText(v) == "plain:"+hidden }

// plainText is a plain: reference as it is written; empty for anything else.
func plainText(v *hujson.Value) string {
	if v == nil || v.Value.Kind() != '"' {
		return ""
	}
	s := v.Value.(hujson.Literal).String()
	if len(s) <= len("plain:") || s[:len("plain:")] != "plain:" {
		return ""
	}
	return s
}

// compact is the value as JSON without blanks and comments; null, which means "not given", is nothing.
func compact(v *hujson.Value) string {
	if v == nil || v.Value.Kind() == 'n' {
		return ""
	}
	c := v.Clone()
	c.Minimize()
	return string(bytes.TrimSpace(c.Pack()))
}
