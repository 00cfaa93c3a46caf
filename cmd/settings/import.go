package settings

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tailscale/hujson"
)

// Finding is one thing that Import met and a person should know.
type Finding struct {
	Line int // in the imported text
	Key  string
	Text string
	// Open: somebody must answer before the result works as the original did.
	Open bool
	// Secret: the answer is a reference to a password or token.
	Secret bool
}

// String is one line for a person.
func (f Finding) String() string {
	s := f.Key + ": " + f.Text
	if f.Line > 0 {
		s = fmt.Sprintf("line %d: %s", f.Line, s)
	}
	return s
}

// Import makes a SCOMConnectorConfig.json of one that the original connector used: the same text, with what cannot be taken over
// replaced and a comment beside each change. The answers give values for keys, such as "ScomServers[0].Password": "env:SCOM_PASSWORD";
// a key that is not there is added. The report names what is left to answer. The error says that the text
// is no settings file at all, or that an answer cannot be used.
func Import(text []byte, answers map[string]string) (out []byte, report []Finding, err error) {
	return ImportFrom(text, answers, time.Time{}, time.Time{})
}

// ImportFrom is Import that goes on from the original's position, which PollTime has read; zero: there is none.
func ImportFrom(text []byte, answers map[string]string, position, now time.Time) (out []byte, report []Finding, err error) {
	v, fault := parse("the imported file", text)
	if fault != nil {
		return nil, nil, errors.New(fault.String())
	}
	if _, ok := v.Value.(*hujson.Object); !ok {
		return nil, nil, errors.New("the imported file: it must be one object: { ... }")
	}
	im := &importer{text: text, root: &v, at: map[string]place{}, secretNames: secretKeys()}
	im.index("", &v)
	if err := im.answer(answers); err != nil {
		return nil, nil, err
	}
	if !position.IsZero() {
		im.lookback(position, now)
	}
	im.secrets()
	im.addresses()
	im.differences()
	out = v.Pack()
	im.leftovers(out)
	slices.SortStableFunc(im.report, func(a, b Finding) int { return a.Line - b.Line })
	return out, im.report, nil
}

type importer struct {
	text   []byte
	root   *hujson.Value
	at     map[string]place
	report []Finding
	// secretNames are the keys under which passwords and tokens stand.
	secretNames map[string]bool
}

// place is where a key stands in the syntax tree.
type place struct {
	value *hujson.Value
	head  *hujson.Value // where a comment about it goes: its name, or itself in a list
}

func (im *importer) index(path string, v *hujson.Value) {
	switch c := v.Value.(type) {
	case *hujson.Object:
		for i := range c.Members {
			m := &c.Members[i]
			at := join(path, m.Name.Value.(hujson.Literal).String())
			im.at[at] = place{&m.Value, &m.Name}
			im.index(at, &m.Value)
		}
	case *hujson.Array:
		for i := range c.Elements {
			at := fmt.Sprintf("%s[%d]", path, i)
			im.at[at] = place{&c.Elements[i], &c.Elements[i]}
			im.index(at, &c.Elements[i])
		}
	}
}

// text of a key, empty if it is not there or no text.
func (im *importer) textOf(path string) string {
	p, ok := im.at[path]
	if !ok {
		return ""
	}
	lit, ok := p.value.Value.(hujson.Literal)
	if !ok || lit.Kind() == 'n' {
		return ""
	}
	return lit.String()
}

func (im *importer) find(path string, open bool, format string, args ...any) {
	line := 0
	if p, ok := im.at[path]; ok {
		line = lineOf(im.text, p.head.StartOffset)
	}
	im.report = append(im.report, Finding{Line: line, Key: path, Text: fmt.Sprintf(format, args...), Open: open})
}

// comment writes a line before the key.
func (im *importer) comment(path, words string) {
	p, ok := im.at[path]
	if !ok {
		return
	}
	before := string(p.head.BeforeExtra)
	indent := before[strings.LastIndexByte(before, '\n')+1:]
	if strings.TrimSpace(indent) != "" || !strings.Contains(before, "\n") {
		indent = ""
		before += "\n"
	}
	p.head.BeforeExtra = hujson.Extra(before + "// import: " + words + "\n" + indent)
}

// answer puts the operator's answers into the tree.
func (im *importer) answer(answers map[string]string) error {
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(answers)) {
		if im.isSecret(path) {
			if _, err := ParseSecret(answers[path], ""); err != nil && !strings.HasSuffix(path, ".ProxyUrl") {
				errs = append(errs, fmt.Errorf("answer for %s: %w (accepted: %s)", path, err, acceptedSecret))
				continue
			}
		}
		if err := im.set(path, answers[path]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (im *importer) set(path, value string) error {
	if p, ok := im.at[path]; ok {
		switch p.value.Value.Kind() {
		case '{', '[':
			return fmt.Errorf("answer for %s: it is no single value", path)
		}
		p.value.Value = hujson.String(value)
		return nil
	}
	parent, name, nested := cutLast(path)
	owner := im.root
	if nested {
		p, ok := im.at[parent]
		if !ok {
			return fmt.Errorf("answer for %s: the imported file has no %s", path, parent)
		}
		owner = p.value
	}
	obj, ok := owner.Value.(*hujson.Object)
	if !ok || strings.ContainsAny(name, "[]") {
		return fmt.Errorf("answer for %s: the imported file has no such place", path)
	}
	obj.Members = append(obj.Members, hujson.ObjectMember{
		Name:  hujson.Value{BeforeExtra: hujson.Extra("\n"), Value: hujson.String(name)},
		Value: hujson.Value{BeforeExtra: hujson.Extra(" "), Value: hujson.String(value)},
	})
	// The tree has moved: members are values in a slice.
	clear(im.at)
	im.index("", im.root)
	return nil
}

func cutLast(path string) (parent, name string, nested bool) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

func (im *importer) isSecret(path string) bool {
	_, name, _ := cutLast(path)
	return im.secretNames[name]
}

// secrets empties what the original had encrypted with a key of its own.
func (im *importer) secrets() {
	for _, path := range slices.Sorted(maps.Keys(im.at)) {
		value := im.textOf(path)
		if value == "" || !im.isSecret(path) {
			continue
		}
		if _, err := ParseSecret(value, ""); err == nil || (strings.HasSuffix(path, ".ProxyUrl") && badLink(value) == "") {
			continue
		}
		im.at[path].value.Value = hujson.String("")
		im.comment(path, "what stood here was encrypted by the original connector and cannot be read; give env:NAME, file:PATH or plain:TEXT")
		im.find(path, true, "the original connector encrypted it and only that connector can read it: give a reference, env:NAME, file:PATH or plain:TEXT")
		im.report[len(im.report)-1].Secret = true
	}
}

// addresses looks at where the servers are.
func (im *importer) addresses() {
	for i := 0; ; i++ {
		path := "ScomServers[" + strconv.Itoa(i) + "]"
		if _, ok := im.at[path]; !ok {
			break
		}
		if host := im.textOf(path + ".ScomAddressHost"); host != "" && im.textOf(path+".Url") == "" {
			im.find(path+".ScomAddressHost", false, "now means the web console (SCOM 1801 or later), no longer ports 5723 and 5724: https://%s/OperationsManager must answer there; "+
				"set Url if it is elsewhere", clip(host))
		}
	}
	for i := 0; ; i++ {
		path := "MoogServers[" + strconv.Itoa(i) + "]"
		if _, ok := im.at[path]; !ok {
			break
		}
		if im.textOf(path+".MoogUrl") == "" && im.textOf(path+".MoogIp") == "" {
			im.comment(path, "this LAM has no address and is ignored; set MoogUrl, or MoogIp and MoogPort, or delete it")
			im.find(path, true, "has no address and is ignored: set MoogUrl, or MoogIp and MoogPort, or delete it")
			continue
		}
		if cert := im.textOf(path + ".MoogPublicKey"); cert != "" {
			im.find(path+".MoogPublicKey", false, "%s must exist on each connector node, at this path", clip(cert))
		}
	}
}

// differences names settings that mean something else now.
func (im *importer) differences() {
	if im.textOf("PollCriteriaDateFormat") != "" {
		im.comment("PollCriteriaDateFormat", "kept, never used: questions to SCOM carry UTC in ISO form")
		im.find("PollCriteriaDateFormat", false, `this date format is kept but never used: questions to SCOM carry UTC in ISO form, which no day and month can swap; `+
			`should a console refuse that, set CriteriaDateForm to "space"`)
	}
	if strings.EqualFold(im.textOf("IsActiveEventPolling"), "true") {
		im.at["IsActiveEventPolling"].value.Value = hujson.Bool(false)
		im.comment("IsActiveEventPolling", "was true; SCOM's REST interface has no events, only alerts")
		im.find("IsActiveEventPolling", false, "was true and is set to false: SCOM's REST interface has no events, only alerts")
	}
	if mb, err := strconv.ParseFloat(im.textOf("MaxPayloadSizeInMB"), 64); err == nil && mb > 1 {
		im.find("MaxPayloadSizeInMB", false, "%g MB is more than Nginx takes by default (client_max_body_size 1m): where a LAM answers 413, batches are halved; 1.0 avoids that", mb)
	}
}

// leftovers are faults that remain in the result, apart from those that are named already.
func (im *importer) leftovers(out []byte) {
	named := map[string]bool{}
	for _, f := range im.report {
		if f.Open {
			named[f.Key] = true
		}
	}
	_, faults := ParseCluster("imported", out, Options{})
	for _, f := range faults {
		if named[f.Key] {
			continue
		}
		im.find(f.Key, true, "%s", strings.TrimPrefix(f.withoutPlace(), f.Key+": "))
	}
}

func (f Fault) withoutPlace() string {
	f.File, f.Line = "", 0
	return strings.TrimPrefix(f.String(), ": ")
}

// AddServers appends consoles and LAMs that the text does not name yet; an element is an object in JSON. It keeps the rest as it is.
func AddServers(text []byte, scom, moog []string) ([]byte, error) {
	v, fault := parse("the settings", text)
	if fault != nil {
		return nil, errors.New(fault.String())
	}
	for list, elements := range map[string][]string{"ScomServers": scom, "MoogServers": moog} {
		at := v.Find("/" + list)
		if at == nil {
			continue
		}
		arr, ok := at.Value.(*hujson.Array)
		if !ok {
			return nil, fmt.Errorf("%s is no list", list)
		}
		before := hujson.Extra("\n")
		if n := len(arr.Elements); n > 0 {
			before = indent(arr.Elements[n-1].BeforeExtra)
		}
		for _, e := range elements {
			element, err := hujson.Parse([]byte(e))
			if err != nil {
				return nil, fmt.Errorf("add to %s: %w", list, err)
			}
			element.BeforeExtra = before
			arr.Elements = append(arr.Elements, element)
		}
	}
	return v.Pack(), nil
}

// indent is the line end and the blanks before an element, without its comments.
func indent(e hujson.Extra) hujson.Extra {
	last := e[bytes.LastIndexByte(e, '\n')+1:]
	if len(bytes.TrimSpace(last)) > 0 {
		last = nil
	}
	return append(hujson.Extra("\n"), last...)
}

// SecretFileName is a name for the file that holds the secret of a key, for a reference that a program proposes.
func SecretFileName(key string) string {
	return strings.Trim(unfitForFile.ReplaceAllString(key, "-"), "-")
}

var unfitForFile = regexp.MustCompile(`[^A-Za-z0-9]+`)
