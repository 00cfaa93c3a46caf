package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

// The kinds of values that hold others.

// links is a list of at most limit addresses.
func links(name string, p *[]string, limit int) key {
	k := key{name: name, accepted: fmt.Sprintf("a list of at most %d web addresses", limit)}
	k.read = func(r *reader, at string, v *hujson.Value) {
		arr, ok := v.Value.(*hujson.Array)
		if !ok || len(arr.Elements) > limit {
			r.fault(at, k.accepted, "is no such list")
			return
		}
		for i := range arr.Elements {
			var s string
			sub := fmt.Sprintf("%s[%d]", at, i)
			r.at[sub] = arr.Elements[i].StartOffset
			link(name, &s).read(r, sub, &arr.Elements[i])
			*p = append(*p, s)
		}
	}
	return k
}

// texts is an object of texts, at most entries of them.
func texts(name string, p *map[string]string, entries, limit int) key {
	k := key{name: name, accepted: fmt.Sprintf(`an object of at most %d texts, such as {"class": "category"}`, entries)}
	k.read = func(r *reader, at string, v *hujson.Value) {
		table, m := []key{}, map[string]*string{}
		for _, word := range memberNames(v) {
			m[word] = new(string)
			table = append(table, text(word, m[word], limit))
		}
		if !mapObject(r, at, &k, v, table, entries) {
			return
		}
		*p = map[string]string{}
		for word, s := range m {
			if r.given(join(at, word)) {
				(*p)[word] = *s
			}
		}
	}
	return k
}

// numbers is an object of whole numbers from lo to hi, over the defaults in p; with words given, only these may be its keys.
func numbers(name string, p *map[string]int, lo, hi int, words ...string) key {
	k := key{name: name, accepted: fmt.Sprintf("an object of numbers from %d to %d", lo, hi)}
	if len(words) > 0 {
		k.accepted += " for " + strings.Join(words, ", ")
	}
	k.read = func(r *reader, at string, v *hujson.Value) {
		table, m := []key{}, map[string]*int{}
		names := memberNames(v)
		if len(words) > 0 {
			names = words
		}
		for _, word := range names {
			m[word] = new(int)
			table = append(table, whole(word, m[word], lo, hi))
		}
		if !mapObject(r, at, &k, v, table, 64) {
			return
		}
		given := map[string]int{}
		for word, n := range m {
			if r.given(join(at, word)) {
				given[word] = *n
			}
		}
		*p = merged(*p, given)
	}
	return k
}

func mapObject(r *reader, at string, k *key, v *hujson.Value, table []key, entries int) bool {
	obj, ok := v.Value.(*hujson.Object)
	if !ok || len(obj.Members) > entries {
		r.fault(at, k.accepted, "is no such object")
		return false
	}
	r.object(at, v.StartOffset, obj, table, nil)
	return true
}

func memberNames(v *hujson.Value) []string {
	obj, ok := v.Value.(*hujson.Object)
	if !ok {
		return nil
	}
	set := map[string]bool{}
	for _, m := range obj.Members {
		set[m.Name.Value.(hujson.Literal).String()] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// object is a section with keys of its own.
func object(name string, sub []key) key {
	k := key{name: name, accepted: "an object: { ... }", sub: sub}
	k.read = func(r *reader, at string, v *hujson.Value) {
		obj, ok := v.Value.(*hujson.Object)
		if !ok {
			r.fault(at, k.accepted, "must be an object, not %s", kindWord(v))
			return
		}
		r.object(at, v.StartOffset, obj, sub, nil)
	}
	return k
}

// list is a list of lo to hi objects; table makes the rows of one element and sets its defaults.
func list[T any](name string, p *[]T, lo, hi int, table func(*T) []key) key {
	k := key{name: name, accepted: fmt.Sprintf("a list of %d to %d objects: [ {...} ]", lo, hi), sub: table(new(T)), list: true}
	k.read = func(r *reader, at string, v *hujson.Value) {
		arr, ok := v.Value.(*hujson.Array)
		if !ok {
			r.fault(at, k.accepted, "must be a list, not %s", kindWord(v))
			return
		}
		if n := len(arr.Elements); n < lo || n > hi {
			r.fault(at, k.accepted, "has %d entries", n)
			return
		}
		*p = make([]T, len(arr.Elements))
		for i := range arr.Elements {
			e := &arr.Elements[i]
			sub := fmt.Sprintf("%s[%d]", at, i)
			r.at[sub] = e.StartOffset
			rows := table(&(*p)[i])
			obj, ok := e.Value.(*hujson.Object)
			if !ok {
				r.fault(sub, "an object: { ... }", "must be an object, not %s", kindWord(e))
				continue
			}
			r.object(sub, e.StartOffset, obj, rows, nil)
		}
	}
	return k
}
