package settings

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tailscale/hujson"
)

// The kinds of values. Each makes a row of a table: what is accepted, and where it goes.

// text is anything in quotes of at most limit bytes.
func text(name string, p *string, limit int) key {
	k := key{name: name, accepted: fmt.Sprintf("text of at most %d bytes", limit)}
	k.read = func(r *reader, at string, v *hujson.Value) {
		if s, ok := quoted(r, at, k.accepted, v); ok {
			if len(s) > limit {
				r.fault(at, k.accepted, "has %d bytes, which is too long", len(s))
				return
			}
			*p = s
		}
	}
	return k
}

// quoted is the value's text, or a fault.
func quoted(r *reader, at, accepted string, v *hujson.Value) (string, bool) {
	if v.Value.Kind() != '"' {
		r.fault(at, accepted, "must be text in quotes, not %s", kindWord(v))
		return "", false
	}
	return v.Value.(hujson.Literal).String(), true
}

func kindWord(v *hujson.Value) string {
	switch v.Value.Kind() {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '0':
		return "a number"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "text"
}

// clip keeps a message a line long, and a password that stands in the wrong place out of it.
func clip(s string) string {
	s = withoutSecrets(s)
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "..."
	}
	return s
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// name is an identifier that also serves as part of file names and labels.
func name(keyName string, p *string) key {
	k := key{name: keyName, accepted: "1 to 64 of the characters A-Z a-z 0-9 . _ -"}
	k.read = func(r *reader, at string, v *hujson.Value) {
		s, ok := quoted(r, at, k.accepted, v)
		if !ok || s == "" {
			return
		}
		if !namePattern.MatchString(s) {
			r.fault(at, k.accepted, "%q cannot be used as a name", clip(s))
			return
		}
		*p = s
	}
	return k
}

// choice is one of a few words; case does not count, and the value is as in the list.
func choice[T ~string](name string, p *T, words ...T) key {
	plain := make([]string, len(words))
	for i, w := range words {
		plain[i] = string(w)
	}
	k := key{name: name, accepted: strings.Join(plain, ", ")}
	k.read = func(r *reader, at string, v *hujson.Value) {
		s, ok := quoted(r, at, k.accepted, v)
		if !ok {
			return
		}
		for _, w := range words {
			if strings.EqualFold(s, string(w)) {
				*p = w
				return
			}
		}
		r.fault(at, k.accepted, "%q is none of the possible words", clip(s))
	}
	return k
}

// yesNo is true or false, in quotes or not.
func yesNo(name string, p *bool) key {
	k := key{name: name, accepted: "true, false"}
	k.read = func(r *reader, at string, v *hujson.Value) {
		lit, ok := v.Value.(hujson.Literal)
		switch {
		case ok && strings.EqualFold(lit.String(), "true"):
			*p = true
		case ok && strings.EqualFold(lit.String(), "false"):
			*p = false
		case ok:
			r.fault(at, k.accepted, "is neither true nor false: %q", clip(lit.String()))
		default:
			r.fault(at, k.accepted, "must be true or false, not %s", kindWord(v))
		}
	}
	return k
}

// number reads a number, in quotes or not.
func number(v *hujson.Value) (float64, bool) {
	lit, ok := v.Value.(hujson.Literal)
	if !ok || (lit.Kind() != '0' && lit.Kind() != '"') {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(lit.String()), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// ranged checks a number against its range.
func ranged(r *reader, at string, k *key, v *hujson.Value, f, lo, hi float64) bool {
	if k.alone != nil && f == *k.alone {
		return true
	}
	shown := strings.TrimSpace(v.Value.(hujson.Literal).String())
	switch {
	case f < lo:
		r.fault(at, k.accepted, "%s is too small", clip(shown))
	case f > hi:
		r.fault(at, k.accepted, "%s is too large", clip(shown))
	default:
		return true
	}
	return false
}

func noNumber(r *reader, at, accepted string, v *hujson.Value, what string) {
	switch lit, _ := v.Value.(hujson.Literal); v.Value.Kind() {
	case '"':
		r.fault(at, accepted, "%q is not %s", clip(lit.String()), what)
		return
	case '0':
		r.fault(at, accepted, "%s is not %s", clip(lit.String()), what)
		return
	}
	r.fault(at, accepted, "must be %s, not %s", what, kindWord(v))
}

// whole is an integer from lo to hi.
func whole(name string, p *int, lo, hi int) key {
	k := key{name: name, accepted: fmt.Sprintf("%d to %d", lo, hi), alone: never()}
	k.read = func(r *reader, at string, v *hujson.Value) {
		f, ok := number(v)
		if !ok || f != math.Trunc(f) {
			noNumber(r, at, k.accepted, v, "a whole number")
			return
		}
		if ranged(r, at, &k, v, f, float64(lo), float64(hi)) {
			*p = int(f)
		}
	}
	return k
}

// never is a number that no file can hold.
func never() *float64 { n := math.NaN(); return &n }

// decimal is a number from lo to hi.
func decimal(name string, p *float64, lo, hi float64) key {
	k := key{name: name, accepted: fmt.Sprintf("%g to %g", lo, hi)}
	k.read = func(r *reader, at string, v *hujson.Value) {
		f, ok := number(v)
		if !ok {
			noNumber(r, at, k.accepted, v, "a number")
			return
		}
		if ranged(r, at, &k, v, f, lo, hi) {
			*p = f
		}
	}
	return k
}

// span is a duration: a number of units, or text such as "24h".
func span(name string, p *time.Duration, unit, lo, hi time.Duration) key {
	in := func(d time.Duration) float64 { return float64(d) / float64(unit) }
	word := "seconds"
	if unit == time.Minute {
		word = "minutes"
	}
	k := key{name: name, accepted: fmt.Sprintf("%g to %g %s", in(lo), in(hi), word), alone: never()}
	if hi >= 24*time.Hour {
		k.accepted += fmt.Sprintf(", that is %gh", hi.Hours())
	}
	k.read = func(r *reader, at string, v *hujson.Value) {
		f, ok := number(v)
		if !ok && v.Value.Kind() == '"' {
			d, err := time.ParseDuration(strings.TrimSpace(v.Value.(hujson.Literal).String()))
			f, ok = in(d), err == nil
		}
		if !ok {
			noNumber(r, at, k.accepted, v, `a number of `+word+` or text such as "90s", "5m" or "24h"`)
			return
		}
		if ranged(r, at, &k, v, f, in(lo), in(hi)) {
			*p = time.Duration(math.Round(f * float64(unit)))
		}
	}
	return k
}

// port is a TCP port, in quotes or not; empty text is none.
func port(name string, p *int) key {
	k := key{name: name, accepted: `"", or 1 to 65535`}
	k.read = func(r *reader, at string, v *hujson.Value) {
		if lit, ok := v.Value.(hujson.Literal); ok && lit.Kind() == '"' && lit.String() == "" {
			return
		}
		f, ok := number(v)
		if !ok || f != math.Trunc(f) {
			noNumber(r, at, k.accepted, v, "a port number")
			return
		}
		if f != 0 && !ranged(r, at, &k, v, f, 1, 65535) { // the original wrote 0 for "none", too
			return
		}
		*p = int(f)
	}
	return k
}

// file is a path; a relative one starts at the file's folder.
func file(name string, p *string) key {
	k := key{name: name, accepted: "a path; a relative one starts at node.json's folder"}
	k.read = func(r *reader, at string, v *hujson.Value) {
		s, ok := quoted(r, at, k.accepted, v)
		if !ok {
			return
		}
		if strings.ContainsRune(s, 0) {
			r.fault(at, k.accepted, "is no path")
			return
		}
		*p = resolvePath(s, r.dir)
	}
	return k
}

// address is HOST:PORT; such is an example.
func address(name, such string, p *string) key {
	k := key{name: name, accepted: "HOST:PORT, such as " + such}
	k.read = func(r *reader, at string, v *hujson.Value) {
		s, ok := quoted(r, at, k.accepted, v)
		if !ok {
			return
		}
		_, portText, err := net.SplitHostPort(s)
		n, perr := strconv.Atoi(portText)
		if err != nil || perr != nil || n < 1 || n > 65535 || strings.ContainsAny(s, " /@") {
			r.fault(at, k.accepted, "%q is no address", clip(s))
			return
		}
		*p = s
	}
	return k
}

// link is an http or https address; empty text is none.
func link(name string, p *string) key {
	k := key{name: name, accepted: "an address that begins with http:// or https://"}
	k.read = func(r *reader, at string, v *hujson.Value) {
		s, ok := quoted(r, at, k.accepted, v)
		if !ok || s == "" {
			return
		}
		if why := badLink(s); why != "" {
			r.fault(at, k.accepted, "%s", why)
			return
		}
		*p = s
	}
	return k
}

// badLink says what is wrong with an address. It does not quote it: there may be a password in it.
func badLink(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "is no web address"
	case (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return "is no web address"
	case u.User != nil:
		return "has a user name or password in it, which may not stand there"
	case u.RawQuery != "" || u.Fragment != "":
		return "has a ? or # in it"
	}
	if n, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || n < 1 || n > 65535) {
		return "has a port that does not exist"
	}
	return ""
}

// secret is a reference to a password or token.
func secret(name string, p *Secret) key {
	k := key{name: name, accepted: acceptedSecret, secret: true}
	k.read = func(r *reader, at string, v *hujson.Value) {
		s, ok := quoted(r, at, k.accepted, v)
		if !ok {
			return
		}
		ref, err := ParseSecret(s, r.dir)
		if err != nil {
			r.fault(at, k.accepted, "%v", err)
			return
		}
		*p = ref
		if !ref.IsZero() {
			r.secrets = append(r.secrets, Ref{at, r.line(v.StartOffset), ref})
		}
	}
	return k
}

// secretLink is a web address, or where it holds a password a reference to one.
func secretLink(name string, p *Secret) key {
	k := key{name: name, accepted: "http://HOST:PORT, or for one with a password a reference to the whole address: " + acceptedSecret, secret: true}
	k.read = func(r *reader, at string, v *hujson.Value) {
		s, ok := quoted(r, at, k.accepted, v)
		if !ok || s == "" {
			return
		}
		ref, err := ParseSecret(s, r.dir)
		if errors.Is(err, errMaskedSecret) || errors.Is(err, errBrokenSeal) {
			r.fault(at, k.accepted, "%v", err)
			return
		}
		if err == nil {
			*p = ref
			r.secrets = append(r.secrets, Ref{at, r.line(v.StartOffset), ref})
			return
		}
		if why := badLink(s); why != "" {
			r.fault(at, k.accepted, "%s", why)
			return
		}
		*p = Secret{&reference{scheme: schemeAddress, rest: s}}
	}
	return k
}
