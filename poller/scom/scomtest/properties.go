package scomtest

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// kind is the type of a property.
type kind int

const (
	textKind kind = iota
	guidKind
	numberKind
	boolKind
	timeKind
)

// operatorsOf lists what may be asked of each kind, beside IN and IS NULL.
var operatorsOf = map[kind][]string{
	textKind:   {"=", "==", "!=", "<>", ">", "<", ">=", "<=", "LIKE", "MATCHES", "CONTAINS"},
	guidKind:   {"=", "==", "!=", "<>"},
	numberKind: {"=", "==", "!=", "<>", ">", "<", ">=", "<="},
	boolKind:   {"=", "==", "!=", "<>"},
	timeKind:   {"=", "==", "!=", "<>", ">", "<", ">=", "<="},
}

// property is what criteria may name. One of the three getters is set, as kind says.
type property struct {
	kind   kind
	text   func(*Alert) string // also of a GUID
	number func(*Alert) int64  // also of a bool
	at     func(*Alert) time.Time
}

// properties are those of the SDK's MonitoringAlertCriteria.
var properties = map[string]property{
	"Id":                                {kind: guidKind, text: func(a *Alert) string { return a.ID }},
	"Name":                              {text: func(a *Alert) string { return a.Name }},
	"Description":                       {text: func(a *Alert) string { return a.Description }},
	"MonitoringObjectId":                {kind: guidKind, text: func(a *Alert) string { return a.ObjectID }},
	"MonitoringClassId":                 {kind: guidKind, text: func(a *Alert) string { return a.ClassID }},
	"MonitoringObjectName":              {text: func(a *Alert) string { return a.ObjectName }},
	"MonitoringObjectDisplayName":       {text: func(a *Alert) string { return a.ObjectDisplayName }},
	"MonitoringObjectPath":              {text: func(a *Alert) string { return a.ObjectPath }},
	"MonitoringObjectFullName":          {text: func(a *Alert) string { return a.ObjectFullName }},
	"IsMonitorAlert":                    {kind: boolKind, number: func(a *Alert) int64 { return bit(a.IsMonitorAlert) }},
	"ProblemId":                         {kind: guidKind, text: func(a *Alert) string { return a.ProblemID }},
	"MonitoringRuleId":                  {kind: guidKind, text: func(a *Alert) string { return a.RuleID }},
	"ResolutionState":                   {kind: numberKind, number: func(a *Alert) int64 { return int64(a.ResolutionState) }},
	"Priority":                          {kind: numberKind, number: func(a *Alert) int64 { return int64(a.Priority) }},
	"Severity":                          {kind: numberKind, number: func(a *Alert) int64 { return int64(a.Severity) }},
	"Category":                          {text: func(a *Alert) string { return a.Category }},
	"Owner":                             {text: func(a *Alert) string { return a.Owner }},
	"ResolvedBy":                        {text: func(a *Alert) string { return a.ResolvedBy }},
	"TimeRaised":                        {kind: timeKind, at: func(a *Alert) time.Time { return a.TimeRaised }},
	"TimeAdded":                         {kind: timeKind, at: func(a *Alert) time.Time { return a.TimeAdded }},
	"LastModified":                      {kind: timeKind, at: func(a *Alert) time.Time { return a.LastModified }},
	"LastModifiedBy":                    {text: func(a *Alert) string { return a.LastModifiedBy }},
	"TimeResolved":                      {kind: timeKind, at: func(a *Alert) time.Time { return a.TimeResolved }},
	"TimeResolutionStateLastModified":   {kind: timeKind, at: func(a *Alert) time.Time { return a.TimeStateModified }},
	"CustomField1":                      {text: custom(0)},
	"CustomField2":                      {text: custom(1)},
	"CustomField3":                      {text: custom(2)},
	"CustomField4":                      {text: custom(3)},
	"CustomField5":                      {text: custom(4)},
	"CustomField6":                      {text: custom(5)},
	"CustomField7":                      {text: custom(6)},
	"CustomField8":                      {text: custom(7)},
	"CustomField9":                      {text: custom(8)},
	"CustomField10":                     {text: custom(9)},
	"TicketId":                          {text: func(a *Alert) string { return a.TicketID }},
	"Context":                           {text: func(a *Alert) string { return a.Context }},
	"ConnectorId":                       {kind: guidKind, text: func(a *Alert) string { return a.ConnectorID }},
	"LastModifiedByNonConnector":        {kind: timeKind, at: func(a *Alert) time.Time { return a.LastModified }},
	"MonitoringObjectInMaintenanceMode": {kind: boolKind, number: func(a *Alert) int64 { return bit(a.InMaintenance) }},
	"MonitoringObjectHealthState":       {kind: numberKind, number: healthState},
	"ConnectorStatus":                   {kind: numberKind, number: func(a *Alert) int64 { return int64(a.ConnectorStatus) }},
	"NetbiosComputerName":               {text: func(a *Alert) string { return a.NetbiosComputer }},
	"NetbiosDomainName":                 {text: func(a *Alert) string { return a.NetbiosDomain }},
	"PrincipalName":                     {text: func(a *Alert) string { return a.PrincipalName }},
	"AlertParams":                       {text: func(a *Alert) string { return a.AlertParams }},
	"SiteName":                          {text: func(a *Alert) string { return a.SiteName }},
	"MaintenanceModeLastModified":       {kind: timeKind, at: func(a *Alert) time.Time { return a.MaintenanceChanged }},
	"StateLastModified":                 {kind: timeKind, at: func(a *Alert) time.Time { return a.StateLastModified }},
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// healthState is 1 healthy, 2 warning, 3 critical.
func healthState(a *Alert) int64 {
	if !a.Unhealthy {
		return 1
	}
	return int64(min(3, a.Severity+1))
}

// value is what a property is compared with; the part that the kind needs is set.
type value struct {
	text   string
	number int64
	at     time.Time
}

// value reads a value. Numbers and bools may stand without quotes; texts, GUIDs and dates must not.
func (p *parser) value(k kind) (value, error) {
	t := p.next()
	if t.kind != quoted && t.kind != word {
		return value{}, fmt.Errorf("a value is expected at position %d, not %q", t.pos, t.text)
	}
	if t.kind == word && k != numberKind && k != boolKind {
		return value{}, fmt.Errorf("the value %s at position %d must stand in single quotes", t.text, t.pos)
	}
	v := value{text: t.text}
	var err error
	switch k {
	case guidKind:
		v.text = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(t.text, "{"), "}"))
		if !validGUID(v.text) {
			err = fmt.Errorf("%q at position %d is not a GUID", t.text, t.pos)
		}
	case numberKind:
		if v.number, err = strconv.ParseInt(t.text, 10, 64); err != nil {
			err = fmt.Errorf("%q at position %d is not a number", t.text, t.pos)
		}
	case boolKind:
		if v.number = bit(t.text == "1" || strings.EqualFold(t.text, "true")); v.number == 0 && t.text != "0" && !strings.EqualFold(t.text, "false") {
			err = fmt.Errorf("%q at position %d is neither true nor false", t.text, t.pos)
		}
	case timeKind:
		if v.at, err = p.dates.parse(t.text); err != nil {
			err = fmt.Errorf("%q at position %d is not a date", t.text, t.pos)
		}
	}
	return v, err
}

// dateRules is which dates criteria may hold.
type dateRules struct {
	fractions bool
	iso       bool           // 2026-01-02T03:04:05Z
	space     *time.Location // 2026-01-02 03:04:05, and where that is; nil: refused
}

func (o *Options) dates() dateRules {
	r := dateRules{fractions: o.DateFractions, iso: o.DateForms != "space", space: time.UTC}
	if o.SpaceZone != nil {
		r.space = o.SpaceZone
	}
	if o.DateForms == "iso" {
		r.space = nil
	}
	return r
}

// parse takes the two forms that are known to work. Any other one depends on the server's culture and is refused here.
func (r dateRules) parse(s string) (time.Time, error) {
	if !r.fractions && strings.Contains(s, ".") {
		return time.Time{}, fmt.Errorf("a fraction in %q", s)
	}
	if t, err := time.Parse("2006-01-02T15:04:05Z", s); err == nil && r.iso {
		return t, nil
	}
	if r.space == nil {
		return time.Time{}, fmt.Errorf("%q has no T", s)
	}
	t, err := time.ParseInLocation("2006-01-02 15:04:05", s, r.space)
	return t.UTC(), err
}

// validGUID reports whether s is a GUID as SCOM prints it, in either case.
func validGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (s[i] == '-') {
			return false
		}
		if s[i] != '-' && strings.IndexByte("0123456789abcdefABCDEF", s[i]) < 0 {
			return false
		}
	}
	return true
}

// null reports whether the alert has no value for the property.
func (p property) null(a *Alert) bool {
	switch p.kind {
	case textKind, guidKind:
		return p.text(a) == ""
	case timeKind:
		return p.at(a).IsZero()
	}
	return false
}

// compare builds NAME OPERATOR VALUE.
func (p property) compare(operator string, v value) (criteria, error) {
	switch operator {
	case "LIKE":
		return p.pattern(likePattern(v.text))
	case "MATCHES":
		return p.pattern(v.text)
	case "CONTAINS":
		return p.pattern("(?is)" + regexp.QuoteMeta(v.text))
	}
	order := p.order(v)
	holds := map[string]func(int) bool{
		"=": func(n int) bool { return n == 0 }, "==": func(n int) bool { return n == 0 },
		"!=": func(n int) bool { return n != 0 }, "<>": func(n int) bool { return n != 0 },
		">": func(n int) bool { return n > 0 }, ">=": func(n int) bool { return n >= 0 },
		"<": func(n int) bool { return n < 0 }, "<=": func(n int) bool { return n <= 0 },
	}[operator]
	return criteria{match: func(a *Alert) bool { return !p.null(a) && holds(order(a)) }}, nil
}

// order compares an alert's value with v; texts and GUIDs as SQL Server's usual collation, which
// does not mind the case.
func (p property) order(v value) func(*Alert) int {
	switch p.kind {
	case numberKind, boolKind:
		return func(a *Alert) int { return cmp.Compare(p.number(a), v.number) }
	case timeKind:
		return func(a *Alert) int { return p.at(a).Compare(v.at) }
	}
	want := strings.ToLower(v.text)
	return func(a *Alert) int {
		if have := p.text(a); !strings.EqualFold(have, want) {
			return cmp.Compare(strings.ToLower(have), want)
		}
		return 0
	}
}

func (p property) pattern(expr string) (criteria, error) {
	re, err := regexp.Compile(expr)
	if err != nil {
		return criteria{}, fmt.Errorf("the pattern is not valid: %w", err)
	}
	return criteria{match: func(a *Alert) bool { return !p.null(a) && re.MatchString(p.text(a)) }}, nil
}

// likePattern is SQL's LIKE: % is any text, _ any character, [abc] one of these.
func likePattern(s string) string {
	var b strings.Builder
	b.WriteString("(?is)^")
	for i := 0; i < len(s); i++ {
		switch end := strings.IndexByte(s[i:], ']'); {
		case s[i] == '%':
			b.WriteString(".*")
		case s[i] == '_':
			b.WriteByte('.')
		case s[i] == '[' && end > 1:
			set := s[i+1 : i+end]
			not, set := strings.HasPrefix(set, "^"), strings.TrimPrefix(set, "^")
			b.WriteString(map[bool]string{true: "[^", false: "["}[not] + strings.NewReplacer(`\`, `\\`, `[`, `\[`).Replace(set) + "]")
			i += end
		default:
			end := i + 1
			for end < len(s) && !strings.ContainsRune("%_[", rune(s[end])) {
				end++
			}
			b.WriteString(regexp.QuoteMeta(s[i:end]))
			i = end - 1
		}
	}
	return b.String() + "$"
}

// in builds NAME IN (...).
func (p property) in(values []value) criteria {
	texts, numbers, times := map[string]bool{}, map[int64]bool{}, map[int64]bool{}
	for _, v := range values {
		texts[strings.ToLower(v.text)], numbers[v.number], times[v.at.UnixNano()] = true, true, true
	}
	return criteria{match: func(a *Alert) bool {
		switch {
		case p.null(a):
			return false
		case p.kind == numberKind || p.kind == boolKind:
			return numbers[p.number(a)]
		case p.kind == timeKind:
			return times[p.at(a).UnixNano()]
		}
		return texts[strings.ToLower(p.text(a))]
	}}
}
