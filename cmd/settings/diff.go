package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tailscale/hujson"
)

// Change is one key that two texts set differently. Old and New are JSON, secrets hidden; empty means "not given".
type Change struct {
	Key string `json:"key"` // as a path; an index counts in the text that has the element, the new one if both do
	Old string `json:"old"`
	New string `json:"new"`
	// Hidden: both are plain secrets. Where the old text is masked, they may be the same.
	Hidden bool `json:"hidden,omitempty"`
}

// Difference is what becomes different when one text takes the other's place.
type Difference struct {
	Changes []Change `json:"changes"`
	// Notes say what follows where that is more than a value: a destination that starts anew, a position that is left.
	Notes []string `json:"notes"`
}

// Keys names what has changed.
func (d *Difference) Keys() []string {
	keys := make([]string, len(d.Changes))
	for i, c := range d.Changes {
		keys[i] = c.Key
	}
	return keys
}

// Diff compares two texts of SCOMConnectorConfig.json key by key; an empty old text has no keys. It shows no secret. Either
// text may be masked. The error says that one of them is not JSON.
func Diff(old, text []byte) (Difference, error) {
	d := Difference{Changes: []Change{}, Notes: []string{}}
	if len(old) == 0 {
		old = []byte("{}")
	}
	a, fault := parse("the "+InUse, old)
	if fault != nil {
		return d, Faults{*fault}
	}
	b, fault := parse(ClusterFileName, text)
	if fault != nil {
		return d, Faults{*fault}
	}
	w := differ{secrets: secretKeys(), to: &d}
	w.object("", &a, &b)
	d.Notes = append(d.Notes, consequences(old, text)...)
	return d, nil
}

type differ struct {
	secrets map[string]bool
	to      *Difference
}

func (w *differ) add(key string, old, new *hujson.Value, secret bool) {
	c := Change{Key: key, Old: w.shown(old, secret), New: w.shown(new, secret)}
	c.Hidden = secret && c.Old == c.New
	w.to.Changes = append(w.to.Changes, c)
}

// shown is a value for a person: JSON, of which the secrets are hidden.
func (w *differ) shown(v *hujson.Value, secret bool) string {
	if v == nil {
		return ""
	}
	c := v.Clone()
	if lit, ok := c.Value.(hujson.Literal); ok && secret {
		c.Value = hujson.String(maskedReference(lit.String()))
	}
	mask(&c, w.secrets)
	return compact(&c)
}

func (w *differ) object(path string, old, new *hujson.Value) {
	a, b := members(old), members(new)
	all := maps.Clone(b)
	maps.Copy(all, a)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		w.value(join(path, name), name, a[name], b[name])
	}
}

func (w *differ) value(path, name string, old, new *hujson.Value) {
	switch {
	case compact(old) == compact(new):
	case w.secrets[name]:
		w.add(path, old, new, true)
	case kindOf(old) == '{' && kindOf(new) == '{':
		w.object(path, old, new)
	case kindOf(old) == '[' && kindOf(new) == '[':
		w.list(path, name, elements(old), elements(new))
	default:
		w.add(path, old, new, false)
	}
}

func kindOf(v *hujson.Value) hujson.Kind {
	if v == nil {
		return 'n'
	}
	return v.Value.Kind()
}

// list pairs the elements of the same address, then those at the same place.
func (w *differ) list(path, name string, olds, news []*hujson.Value) {
	partner := make([]int, len(news))
	taken := make([]bool, len(olds))
	for i, n := range news {
		partner[i] = slices.IndexFunc(olds, func(o *hujson.Value) bool { return addressOf(name, o) == addressOf(name, n) })
		if j := partner[i]; j >= 0 && taken[j] {
			partner[i] = -1
		} else if j >= 0 {
			taken[j] = true
		}
	}
	moved, last := false, -1
	for i, n := range news {
		j := partner[i]
		if j < 0 && i < len(olds) && !taken[i] {
			j, taken[i] = i, true
		}
		key := fmt.Sprintf("%s[%d]", path, i)
		if j < 0 {
			w.add(key, nil, n, false)
			continue
		}
		moved, last = moved || j < last, max(last, j)
		w.value(key, "", olds[j], n)
	}
	for j, o := range olds {
		if !taken[j] {
			w.add(fmt.Sprintf("%s[%d]", path, j), o, nil, false)
		}
	}
	if moved {
		w.to.Changes = append(w.to.Changes, Change{Key: path, Old: "in another order", New: "in the order of the new text"})
	}
}

// addressOf is what tells one server of a list from another.
func addressOf(list string, v *hujson.Value) string {
	keys := map[string][]string{"ScomServers": {"ScomAddressHost", "Url"}, "MoogServers": {"MoogUrl", "MoogIp", "MoogPort"}}[list]
	if keys == nil {
		return compact(v)
	}
	m := members(v)
	var parts []string
	for _, k := range keys {
		parts = append(parts, compact(m[k]))
	}
	return strings.Join(parts, " ")
}

// consequences are what a person would not expect from the keys alone.
func consequences(old, text []byte) []string {
	a, _ := ParseCluster("", old, Options{})
	b, _ := ParseCluster("", text, Options{})
	before, after := map[string]bool{}, map[string]bool{}
	for _, d := range a.Destinations() {
		before[d.Name] = true
	}
	for _, d := range b.Destinations() {
		after[d.Name] = true
	}
	var notes []string
	carried := map[string]bool{}
	for _, d := range b.Destinations() {
		switch {
		case before[d.Name] || len(before) == 0:
		case before[d.PreviousName] && !after[d.PreviousName]:
			carried[d.PreviousName] = true
			notes = append(notes, fmt.Sprintf("destination %s goes on where %s stood", d.Name, d.PreviousName))
		default:
			notes = append(notes, fmt.Sprintf("destination %s is new and starts with %s; if it is an old one with another name, set PreviousName", d.Name, firstStart(b)))
		}
	}
	for _, d := range a.Destinations() {
		if !after[d.Name] && !carried[d.Name] {
			notes = append(notes, fmt.Sprintf("nothing is sent to destination %s any more; its position is kept for 7 days", d.Name))
		}
	}
	if a.ManagementGroup != b.ManagementGroup && b.ManagementGroup != "" && len(before) > 0 {
		notes = append(notes, "ManagementGroup is part of every signature: if it is another one than until now, what is open in Moogsoft is not closed by what comes now")
	}
	return notes
}

func firstStart(c *Cluster) string {
	if c.FirstStart == "now" {
		return "what changes from now on"
	}
	look := c.InitialLookback.String()
	if c.InitialLookback%time.Hour == 0 { // as people write it, and not 24h0m0s
		look = fmt.Sprintf("%dh", c.InitialLookback/time.Hour)
	}
	return "all open alerts and what changed in the last " + look
}
