package scomtest

import (
	"encoding/json"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Shape is how answers look on the wire, where servers, releases and scripts are known to differ or
// nobody has documented it. The zero value is what the documentation's samples show.
type Shape struct {
	OnlyNeeded       bool // the server knows no column but id, lastmodified and resolutionstate
	NumbersAsStrings bool // "priority":"1"
	BooleansAsText   bool // "ismonitoralert":"True"
	NumericSeverity  bool // "severity":2
	Critical         bool // "severity":"Critical", as the console's own widget says
	PriorityAsText   bool // "priority":"Normal", as alertDetails says
	NumericState     bool // "resolutionstate":255
	UpperCaseKeys    bool // "ID", "SEVERITY"; also Rows and TableColumns
	RowsFirst        bool // rows before tableColumns
	Wrapped          bool // the whole answer in an array of one
	Dates            DateStyle
	// LocalOffset moves the times of the columns without utc in their names: how lastmodified and
	// lastmodifiedutc differ is documented nowhere.
	LocalOffset time.Duration
	// LocalZone prints the same columns in the local time of this zone, summer time and all, such as Europe/Berlin.
	LocalZone string
	// NoUTC is a server that knows no column with utc in its name.
	NoUTC bool
	// Languages shows each row so many times, as the database's view does for each installed language.
	Languages int
}

// DateStyle is how times are printed.
type DateStyle int

// The styles seen in samples and logs.
const (
	DatesSevenDigits DateStyle = iota // 2022-05-17T03:29:36.7330000Z
	DatesShort                        // 2022-05-17T03:29:36.733Z
	DatesSpaced                       // 2022-05-17T03: 29: 36.7330000Z
	DatesNoZone                       // 2022-05-17T03:29:36.7330000, UTC all the same
	DatesMicrosoft                    // /Date(1652758176733)/
)

const wireTime = "2006-01-02T15:04:05.0000000Z"

// plan prints rows for one list of columns and one shape.
type plan struct {
	shape  Shape
	fields []planField
	aged   bool   // age was asked, so that no row can be kept
	table  []byte // tableColumns
	rows   []byte // the key of rows
}

type planField struct {
	col   *column // nil: ageinmilliseconds
	index int     // position in columns
	name  []byte  // `"severity":`
}

// maxPlans bounds the plans that are kept; clients ask for one or two lists.
const maxPlans = 64

// planFor returns the plan for a request; the caller holds mu.
func (g *Group) planFor(asked []string) *plan {
	key := strings.Join(asked, "\x00") + "\x00" + string(mustJSON(g.shape))
	if p := g.plans[key]; p != nil {
		return p
	}
	if len(g.plans) == maxPlans {
		clear(g.plans)
	}
	h := fnv.New64a()
	h.Write([]byte(key))
	p := newPlan(asked, g.shape, rand.New(rand.NewPCG(g.opt.Seed, h.Sum64())))
	g.plans[key] = p
	return p
}

// newPlan leaves out what the server does not know, adds the age in milliseconds where age is asked,
// and orders the columns as it likes.
func newPlan(asked []string, shape Shape, r *rand.Rand) *plan {
	p := &plan{shape: shape}
	seen := map[string]bool{}
	for _, id := range asked {
		id = strings.ToLower(id)
		c := columnByID[id]
		if !shape.offers(c) || seen[id] {
			continue
		}
		seen[id] = true
		p.fields = append(p.fields, planField{col: c})
		if id == "age" {
			p.aged = true
			p.fields = append(p.fields, planField{})
		}
	}
	r.Shuffle(len(p.fields), func(i, j int) { p.fields[i], p.fields[j] = p.fields[j], p.fields[i] })
	type tableColumn struct {
		Field  string  `json:"field"`
		Header string  `json:"header"`
		Type   *string `json:"type"`
		Hidden bool    `json:"hidden"`
	}
	table := make([]tableColumn, len(p.fields))
	for i := range p.fields {
		f := &p.fields[i]
		t := tableColumn{Field: "ageinmilliseconds", Hidden: true}
		if f.col != nil {
			t = tableColumn{Field: f.col.id, Header: f.col.header, Hidden: f.col.id == "id"}
		}
		f.index = i
		f.name = append(strconv.AppendQuote(nil, shape.key(t.Field)), ':')
		table[i] = t
	}
	p.table = append(append(strconv.AppendQuote(nil, shape.key("tableColumns")), ':'), mustJSON(table)...)
	p.rows = append(strconv.AppendQuote(nil, shape.key("rows")), ':')
	return p
}

func (s Shape) key(k string) string {
	if s.UpperCaseKeys {
		return strings.ToUpper(k)
	}
	return k
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data of ours
	}
	return b
}

// appendRow appends a version's row.
func (p *plan) appendRow(dst []byte, a *Alert, now time.Time) []byte {
	if a.Broken == NotAnObject {
		return append(dst, `"row"`...)
	}
	dst = append(dst, '{')
	first := true
	for i := range p.fields {
		f := &p.fields[i]
		n := len(dst)
		if !first {
			dst = append(dst, ',')
		}
		dst = append(dst, f.name...)
		var ok bool
		if f.col == nil {
			dst, ok = strconv.AppendFloat(dst, float64(now.Sub(a.TimeAdded).Microseconds())/1e3, 'f', -1, 64), true
		} else {
			dst, ok = p.appendField(dst, f, a, now)
		}
		if !ok {
			dst = dst[:n]
			continue
		}
		first = false
	}
	return append(dst, '}')
}

// appendField appends a column's value; ok is false where the row leaves the column out.
func (p *plan) appendField(dst []byte, f *planField, a *Alert, now time.Time) (_ []byte, ok bool) {
	c := f.col
	if a.Broken != Whole {
		if a.Broken == NoID && c.id == "id" {
			return dst, false
		}
		if spoilt, hit := spoil(c, a.Broken); hit {
			return append(dst, spoilt...), true
		}
	}
	s := &p.shape
	switch {
	case c.id == "age":
		return appendText(dst, age(now.Sub(a.TimeAdded))), true
	case c.id == "severity":
		return appendSeverity(dst, a.Severity, s), true
	case c.id == "priority" && s.PriorityAsText:
		return appendText(dst, [...]string{"Low", "Normal", "High"}[min(2, max(0, a.Priority))]), true
	case c.id == "resolutionstate" && s.NumericState:
		return strconv.AppendInt(dst, int64(a.ResolutionState), 10), true
	case c.number != nil:
		if s.NumbersAsStrings {
			return append(strconv.AppendInt(append(dst, '"'), c.number(a), 10), '"'), true
		}
		return strconv.AppendInt(dst, c.number(a), 10), true
	case c.boolean != nil:
		return appendBool(dst, c.boolean(a), s), true
	case c.instant != nil:
		if t := c.instant(a); !t.IsZero() {
			if c.local {
				t = s.local(t)
			}
			return s.Dates.append(dst, t), true
		}
		return appendNothing(dst, f, a, false)
	}
	if t := c.text(a); t != "" {
		return appendText(dst, t), true
	}
	return appendNothing(dst, f, a, true)
}

// spoil is what a broken row has in the column; hit is false where the breakage is elsewhere.
func spoil(c *column, b Breakage) (_ string, hit bool) {
	modified := c.id == "lastmodified" || c.id == "lastmodifiedutc"
	switch {
	case b == BadID && c.id == "id":
		return `"not-a-guid"`, true
	case b == BadDate && modified:
		return `"yesterday"`, true
	case b == NoDate && modified:
		return `null`, true
	case b == ObjectAsText && (c.id == "name" || modified):
		return `{"value":["unexpected"]}`, true
	}
	return "", false
}

// appendNothing stands for NULL: null, an empty text or no column at all, drawn by the alert, so that
// a row looks the same each time.
func appendNothing(dst []byte, f *planField, a *Alert, text bool) (_ []byte, ok bool) {
	draw := uint32(a.ID[0])*31 + uint32(a.ID[len(a.ID)-1]) + uint32(f.index)*7
	switch {
	case f.col.always || draw%3 == 0:
		return append(dst, "null"...), true
	case text && draw%3 == 1:
		return append(dst, `""`...), true
	}
	return dst, false
}

func appendSeverity(dst []byte, n int, s *Shape) []byte {
	switch {
	case s.NumericSeverity:
		return strconv.AppendInt(dst, int64(n), 10)
	case s.Critical && n == Error:
		return append(dst, `"Critical"`...)
	}
	return appendText(dst, severityName(n))
}

func appendBool(dst []byte, b bool, s *Shape) []byte {
	if !s.BooleansAsText {
		return strconv.AppendBool(dst, b)
	}
	if b {
		return append(dst, `"True"`...)
	}
	return append(dst, `"False"`...)
}

func (d DateStyle) append(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	switch d {
	case DatesShort:
		dst = t.AppendFormat(dst, "2006-01-02T15:04:05.999Z")
	case DatesSpaced:
		dst = t.AppendFormat(dst, "2006-01-02T15: 04: 05.0000000Z")
	case DatesNoZone:
		dst = t.AppendFormat(dst, "2006-01-02T15:04:05.0000000")
	case DatesMicrosoft:
		dst = append(strconv.AppendInt(append(dst, `\/Date(`...), t.UnixMilli(), 10), `)\/`...)
	default:
		dst = t.AppendFormat(dst, wireTime)
	}
	return append(dst, '"')
}

// age is a duration as SCOM words it: "34 days, 9 hours".
func age(d time.Duration) string {
	d = max(0, d)
	days, hours, minutes := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	switch {
	case days > 0:
		return strconv.Itoa(days) + " days, " + strconv.Itoa(hours) + " hours"
	case hours > 0:
		return strconv.Itoa(hours) + " hours, " + strconv.Itoa(minutes) + " minutes"
	}
	return strconv.Itoa(minutes) + " minutes"
}

const hexDigits = "0123456789abcdef"

// plain are the bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendText appends a JSON string. Bytes that are no UTF-8 become U+FFFD, as .NET would have them.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
