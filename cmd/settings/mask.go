package settings

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

// Masked is the text of either file for showing: comments and references stay, the text of plain secrets does not. What does not
// parse is not shown at all, since nobody can say where its passwords are.
func Masked(text []byte) []byte {
	v, fault := parse("", text)
	if fault != nil {
		return []byte("// not shown: the text is not JSON\n")
	}
	mask(&v, secretKeys())
	for e := range v.All() {
		e.BeforeExtra, e.AfterExtra = maskComment(e.BeforeExtra), maskComment(e.AfterExtra)
		switch c := e.Value.(type) {
		case *hujson.Object:
			c.AfterExtra = maskComment(c.AfterExtra)
		case *hujson.Array:
			c.AfterExtra = maskComment(c.AfterExtra)
		}
	}
	return v.Pack()
}

// mask hides each value that stands under a secret's key, wherever that is: a key at the wrong place
// is a fault, but its password still is one.
func mask(v *hujson.Value, secrets map[string]bool) {
	switch c := v.Value.(type) {
	case *hujson.Object:
		for i := range c.Members {
			m := &c.Members[i]
			if lit, ok := m.Value.Value.(hujson.Literal); ok && secrets[m.Name.Value.(hujson.Literal).String()] {
				m.Value.Value = hujson.String(maskedReference(lit.String()))
				continue
			}
			mask(&m.Value, secrets)
		}
	case *hujson.Array:
		for i := range c.Elements {
			mask(&c.Elements[i], secrets)
		}
	case hujson.Literal:
		if c.Kind() == '"' {
			if shown := withoutSecrets(c.String()); shown != c.String() {
				v.Value = hujson.String(shown)
			}
		}
	}
}

// credentials are what stands before the host in an address. They may stand in none of the keys, and are found there all the same.
var credentials = regexp.MustCompile(`(://)[^/?#"\s]*@`)

// withoutSecrets is a value that should hold no secret, for showing.
func withoutSecrets(s string) string {
	if strings.HasPrefix(s, "plain:") {
		return "plain:" + hidden
	}
	return credentials.ReplaceAllString(s, "${1}"+hidden+"@")
}

func maskedReference(s string) string {
	if sealed, ok := strings.CutPrefix(s, "sealed:"); ok && checkSealed(sealed) != nil {
		return hidden // perhaps somebody took the word for an order to seal what follows
	}
	for _, scheme := range []string{"env:", "file:", "sealed:"} {
		if strings.HasPrefix(s, scheme) {
			return s
		}
	}
	switch {
	case s == "":
		return s
	case strings.HasPrefix(s, "plain:"):
		return "plain:" + hidden
	case (strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")) && badLink(s) == "":
		return s // a proxy without a password
	}
	return hidden
}

// plainInComment ends at a quotation mark, at the end of the line, or at that of the comment.
var plainInComment = regexp.MustCompile(`plain:(?:[^"\r\n*]|\*+[^/*"\r\n])*`)

// maskComment hides what somebody has commented out rather than deleted.
func maskComment(e hujson.Extra) hujson.Extra {
	if len(e) == 0 {
		return e
	}
	return plainInComment.ReplaceAll(e, []byte("plain:"+hidden))
}

// secretKeys are the names under which secrets stand in either file.
func secretKeys() map[string]bool {
	names := map[string]bool{}
	var walk func([]key)
	walk = func(table []key) {
		for _, k := range table {
			if k.secret {
				names[k.name] = true
			}
			walk(k.sub)
		}
	}
	walk(new(Node).table())
	walk(new(Cluster).table())
	return names
}

// SecretKeys are the names of all keys that hold a secret, in either file.
func SecretKeys() []string { return slices.Sorted(maps.Keys(secretKeys())) }

// nodeKeys and clusterKeys say which file a key that stands in the wrong one belongs into.
func nodeKeys() map[string]string { return namesOf(new(Node).table(), "node.json") }
func clusterKeys() map[string]string {
	return namesOf(new(Cluster).table(), "SCOMConnectorConfig.json")
}

func namesOf(table []key, file string) map[string]string {
	m := map[string]string{}
	for _, k := range table {
		m[k.name] = file
	}
	return m
}
