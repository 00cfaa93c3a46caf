package normalise

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"scomconnector/poller/alert"
)

// maxMapped bounds the entries of Mapping: each costs about a microsecond for every alert.
const maxMapped = 64

// maxMappingError bounds what an event says about its own mapping.
const maxMappingError = 512

// mapped is one entry of Mapping.
type mapped struct {
	field string // as in the settings
	text  int    // index into event.text, or -1
	name  string // of a custom_info field
	expr  *expression
}

const customPrefix = "custom_info."

var customName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)

// MappableFields are the fields that Mapping accepts, beside custom_info.NAME.
func MappableFields() []string {
	return append(slices.Clone(textNames[:path]), "severity", "agent_time")
}

func compileMapping(own map[string]string) ([]mapped, []error) {
	var all []mapped
	var faults []error
	if len(own) > maxMapped {
		return nil, []error{&Fault{"Mapping", fmt.Errorf("has %d entries (accepted: up to %d)", len(own), maxMapped)}}
	}
	for _, field := range slices.Sorted(maps.Keys(own)) {
		m, err := compileEntry(field, own[field])
		if err != nil {
			faults = append(faults, &Fault{"Mapping." + field, err})
			continue
		}
		all = append(all, m)
	}
	return all, faults
}

func compileEntry(field, text string) (mapped, error) {
	m := mapped{field: field, text: slices.Index(textNames[:path], field)}
	if name, ok := strings.CutPrefix(field, customPrefix); ok {
		if name == "scom" || name == "MoogConnector" {
			return m, errors.New("is written by the connector itself and needed to close alerts: choose another name")
		}
		if !customName.MatchString(name) {
			return m, fmt.Errorf("%q is no name for a field (accepted: up to 64 letters, digits, _ and -, not beginning with a digit)", name)
		}
		m.name = name
	} else if m.text < 0 && field != "severity" && field != "agent_time" {
		known := append(MappableFields(), customPrefix+"NAME")
		return m, fmt.Errorf("unknown event field %q (nearest: %q)", field, nearest(field, known))
	}
	x, err := compileValue(text)
	if err != nil {
		return m, err
	}
	m.expr = x
	return m, m.checkType(x.program.Node())
}

// checkType refuses what could never be right; what is only known at run time is checked there.
func (m *mapped) checkType(node ast.Node) error {
	if n, ok := node.(*ast.IntegerNode); ok && m.field == "severity" && (n.Value < 0 || n.Value > 5) {
		return fmt.Errorf("%d is no Moogsoft severity (accepted: 0-5)", n.Value)
	}
	t := node.Type()
	if t == nil || t.Kind() == reflect.Interface {
		return nil
	}
	kind := t.Kind()
	integer := kind >= reflect.Int && kind <= reflect.Uint64
	switch {
	case m.name != "":
		if integer || kind == reflect.String || kind == reflect.Bool || kind == reflect.Float32 || kind == reflect.Float64 ||
			t == reflect.TypeFor[time.Time]() {
			return nil
		}
		return fmt.Errorf("gives %s (accepted: text, a number, true or false, a time)", t)
	case m.text >= 0:
		if kind != reflect.String {
			return fmt.Errorf("gives %s, not text: use string(...)", t)
		}
	case !integer:
		return fmt.Errorf("gives %s, not a whole number: use int(...)", t)
	}
	return nil
}

// apply replaces what the mapping maps. Each entry sees the event without a mapping, so their order
// does not matter; one that fails leaves the default. The severity of a closed alert is not mapped: an
// expression that rates by name or priority would forget the close, and the alert would stay open in Moogsoft
// for ever. SeverityMap's Closed is there for who wants another one.
func (n *Normaliser) apply(e *event, a *alert.Alert) {
	r := n.runners.Get().(*runner)
	defer n.runners.Put(r)
	r.load(a, e.text[source], n.cfg.ManagementGroup)
	r.env.Event = n.defaults(e)
	var failed []string
	for i := range n.mapping {
		m := &n.mapping[i]
		if m.field == "severity" && a.Closed() {
			continue
		}
		v, err := r.value(m.expr)
		if err == nil {
			err = m.set(e, v)
		}
		if err != nil {
			n.count("Mapping."+m.field, err)
			failed = append(failed, m.field+": "+err.Error())
		}
	}
	e.mappingError = clip(strings.Join(failed, "; "), maxMappingError)
}

// defaults is e as expressions see it.
func (n *Normaliser) defaults(e *event) eventFields {
	id := e.id.String()
	text := e.text[description]
	if text != "" && e.tail != "" {
		text += ": "
	}
	return eventFields{
		Signature: n.signature + id, ExternalID: id, Source: e.text[source], SourceID: e.text[sourceID],
		Manager: e.text[manager], Agent: e.text[agent], AgentLocation: e.text[agentLocation], Class: e.text[class],
		Type: e.text[typ], Severity: e.severity, Description: text + e.tail, AgentTime: int(e.agentTime),
	}
}

// set puts a value into the event. nil leaves the default.
func (m *mapped) set(e *event, v any) error {
	if v == nil {
		return nil
	}
	if m.name != "" {
		return m.setCustom(e, v)
	}
	if m.text >= 0 {
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("gave %s, not text", describe(v))
		}
		return m.setText(e, s)
	}
	i, ok := wholeNumber(v)
	if !ok {
		return fmt.Errorf("gave %s, not a whole number", describe(v))
	}
	if m.field == "agent_time" {
		if i < 0 {
			return fmt.Errorf("gave %d, a time before 1970", i)
		}
		e.agentTime = i
		return nil
	}
	if i < 0 || i > 5 {
		return fmt.Errorf("gave %d (accepted: 0-5)", i)
	}
	e.severity = int(i)
	return nil
}

func (m *mapped) setText(e *event, s string) error {
	switch m.text {
	case signature, externalID:
		if s == "" {
			return errors.New("gave an empty text; alerts would be folded into one")
		}
		if m.text == signature {
			s = bounded(s)
		}
	case description:
		e.tail = ""
	}
	e.text[m.text] = s
	return nil
}

func (m *mapped) setCustom(e *event, v any) error {
	c := custom{name: m.name}
	switch x := v.(type) {
	case string:
		c.text = x
	case bool:
		c.raw = strconv.FormatBool(x)
	case time.Time:
		c.raw = string(appendTime(nil, x))
	case float64:
		raw, err := json.Marshal(x) // rare, and the only correct way to print any float as JSON
		if err != nil {
			return fmt.Errorf("gave %v, which JSON cannot hold", x)
		}
		c.raw = string(raw)
	default:
		i, ok := wholeNumber(v)
		if !ok {
			return fmt.Errorf("gave %s (accepted: text, a number, true or false, a time)", describe(v))
		}
		c.raw = strconv.FormatInt(i, 10)
	}
	e.custom = append(e.custom, c)
	return nil
}

// wholeNumber takes any of Go's integers, and floats without a fraction.
func wholeNumber(v any) (int64, bool) {
	r := reflect.ValueOf(v)
	switch {
	case !r.IsValid():
		return 0, false
	case r.CanInt() && r.Type() != reflect.TypeFor[time.Duration]():
		return r.Int(), true
	case r.CanUint() && r.Uint() <= math.MaxInt64:
		return int64(r.Uint()), true
	case r.CanFloat() && r.Float() == math.Trunc(r.Float()) && math.Abs(r.Float()) < 1<<53:
		return int64(r.Float()), true
	}
	return 0, false
}

// describe names a value in a message, without printing a novel.
func describe(v any) string {
	s := fmt.Sprintf("%v (%T)", v, v)
	return clip(s, 80)
}
