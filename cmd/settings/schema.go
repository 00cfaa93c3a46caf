package settings

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tailscale/hujson"
)

// maxFaults bounds what is reported at once: beyond it the file is of another kind, not mistyped.
const maxFaults = 200

// maxShownKey keeps a stranger's key of many KiB out of the messages; the longest of ours has half of it.
const maxShownKey = 100

// key is one row of a file's table.
type key struct {
	name     string
	accepted string // the range, for people
	required bool
	secret   bool
	sub      []key // of an object, or of each element of a list
	list     bool
	// read puts the value where it belongs, or reports why not. It never sees null: null means "not given".
	read func(r *reader, at string, v *hujson.Value)
	// alone is a number outside the range that is taken all the same.
	alone *float64
}

// must marks a key that has no default.
func (k key) must() key { k.required = true; return k }

// or admits one number outside the range, such as -1 for "no limit".
func (k key) or(n float64, words string) key {
	*k.alone = n
	k.accepted = words + ", or " + k.accepted
	inner := k.read
	accepted := k.accepted
	k.read = func(r *reader, at string, v *hujson.Value) {
		before := len(r.faults)
		inner(r, at, v)
		for i := before; i < len(r.faults); i++ {
			r.faults[i].Accepted = accepted
		}
	}
	return k
}

// reader walks one file along its table and remembers where each key stands.
type reader struct {
	file     string
	text     []byte
	dir      string
	root     *hujson.Value
	at       map[string]int // path of each key that is given (and not null) -> offset
	faults   []Fault
	warnings []Fault
	secrets  []Ref
}

func newReader(file string, text []byte, dir string) *reader {
	return &reader{file: file, text: text, dir: dir, at: map[string]int{}}
}

// read fills what the table points to. foreign are the keys of the other file, to tell who has mixed the two up. It
// reports whether the text was an object at all, so that rules between keys make sense.
func (r *reader) read(table []key, foreign map[string]string) bool {
	v, fault := parse(r.file, r.text)
	if fault != nil {
		r.faults = append(r.faults, *fault)
		return false
	}
	r.root = &v
	obj, ok := v.Value.(*hujson.Object)
	if !ok {
		r.faultAt(v.StartOffset, "", "", "the file must be one object: { ... }")
		return false
	}
	r.object("", v.StartOffset, obj, table, foreign)
	return true
}

// object reads one object's members along its table.
func (r *reader) object(path string, start int, obj *hujson.Object, table []key, foreign map[string]string) {
	seen := map[string]int{}
	for i := range obj.Members {
		name, v := obj.Members[i].Name, &obj.Members[i].Value
		word := name.Value.(hujson.Literal).String()
		at := join(path, word)
		if first, twice := seen[word]; twice {
			r.faultAt(name.StartOffset, at, "", "is given twice, first on line %d: remove one", r.line(first))
			continue
		}
		seen[word] = name.StartOffset
		k, known := find(table, word)
		if !known {
			r.unknown(name.StartOffset, at, word, table, foreign)
			continue
		}
		if v.Value.Kind() == 'n' {
			delete(seen, word)
			continue
		}
		r.at[at] = v.StartOffset
		if lit, ok := v.Value.(hujson.Literal); ok && k.required && string(lit) == `""` {
			r.fault(at, k.accepted, "is empty")
			continue
		}
		k.read(r, at, v)
	}
	for i := range table {
		if _, ok := seen[table[i].name]; !ok && table[i].required {
			r.faultAt(start, join(path, table[i].name), table[i].accepted, "is missing")
		}
	}
}

func find(table []key, name string) (*key, bool) {
	for i := range table {
		if table[i].name == name {
			return &table[i], true
		}
	}
	return nil, false
}

func (r *reader) unknown(offset int, at, word string, table []key, foreign map[string]string) {
	if other, ok := foreign[word]; ok {
		r.faultAt(offset, at, "", "belongs in %s, not in this file", other)
		return
	}
	names := make([]string, len(table))
	for i := range table {
		names[i] = table[i].name
	}
	all := ""
	if len(names) <= fewKeys {
		all = strings.Join(names, ", ")
	}
	if near := nearest(word, names); near != "" {
		r.faultAt(offset, at, all, "unknown key; the nearest known key is %s", near)
		return
	}
	r.faultAt(offset, at, all, "unknown key, and none that is known is like it")
}

// fewKeys fit into a message.
const fewKeys = 8

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// given reports whether the file sets the key, null not counting.
func (r *reader) given(path string) bool { _, ok := r.at[path]; return ok }

// fault reports something about a key; its line is the key's, or its parent's if the key is not given.
func (r *reader) fault(path, accepted, format string, args ...any) {
	r.faultAt(r.offset(path), path, accepted, format, args...)
}

func (r *reader) faultAt(offset int, path, accepted, format string, args ...any) {
	if len(r.faults) == maxFaults {
		return
	}
	if len(path) > maxShownKey {
		path = strings.ToValidUTF8(path[:maxShownKey], "") + "..."
	}
	r.faults = append(r.faults, Fault{r.file, r.line(offset), path, fmt.Sprintf(format, args...), accepted})
}

func (r *reader) warn(path, format string, args ...any) {
	if len(r.warnings) == maxFaults {
		return
	}
	r.warnings = append(r.warnings, Fault{File: r.file, Line: r.line(r.offset(path)), Key: path, Message: fmt.Sprintf(format, args...)})
}

// offset finds the key, else the nearest of its parents that is given.
func (r *reader) offset(path string) int {
	for path != "" {
		if o, ok := r.at[path]; ok {
			return o
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return r.root.StartOffset
}

func (r *reader) line(offset int) int { return lineOf(r.text, offset) }

func lineOf(text []byte, offset int) int {
	return 1 + bytes.Count(text[:min(offset, len(text))], []byte("\n"))
}

func (r *reader) sortedFaults() Faults {
	sortByLine(r.faults)
	return r.faults
}

func (r *reader) sortedWarnings() Warnings {
	sortByLine(r.warnings)
	return r.warnings
}
