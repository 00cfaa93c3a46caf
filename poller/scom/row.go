package scom

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"scomconnector/poller/alert"
)

// rowDecoder turns one row's JSON into an alert. It keeps its buffers from row to row: a storm of
// 100,000 rows costs two small allocations each. Not safe for concurrent use.
type rowDecoder struct {
	alert alert.Alert
	// text holds the unescaped text columns of the row, made into one string at the end; spans
	// says where each lies. Values seen in the row before are taken from last instead, since
	// category, domain or site hardly ever change.
	text  []byte
	spans [textColumns]span
	last  [textColumns]string
	used  []column

	scratch []byte
	// names remembers the field names by their position: a server prints all rows alike.
	names []knownName
}

type span struct{ from, to int32 }

type knownName struct {
	raw string // as it stands between the quotes
	col column
}

// maxNames bounds rowDecoder.names; SCOM has some 50 columns.
const maxNames = 128

var (
	errNotObject = errors.New("the row is not a JSON object")
	errNoID      = errors.New("the row has no id")
	errNoTime    = errors.New("the row has no lastmodified")
)

// decode reads one row, which must be valid JSON. The result is valid until the next call.
func (d *rowDecoder) decode(raw []byte) alert.Row {
	d.alert = alert.Alert{}
	d.text, d.used = d.text[:0], d.used[:0]
	var row alert.Row
	err := d.fields(raw)
	row.ID = d.alert.ID
	if err == nil && row.ID.IsZero() {
		err = errNoID
	}
	if err == nil && d.alert.LastModified.IsZero() {
		err = errNoTime
	}
	if err != nil {
		row.Raw, row.Err = raw, err
		return row
	}
	d.finish()
	row.Alert = &d.alert
	return row
}

// fields walks over the row's members. It goes on after a fault, so that the id is known wherever
// it stands, and returns the first one.
func (d *rowDecoder) fields(raw []byte) (first error) {
	p := skipBlanks(raw, 0)
	if p >= len(raw) || raw[p] != '{' {
		return errNotObject
	}
	var times timeColumns
	p = skipBlanks(raw, p+1)
	for n := 0; p < len(raw) && raw[p] != '}'; n++ {
		nameEnd := valueEnd(raw, p)
		col := d.column(n, raw[p+1:nameEnd-1])
		p = skipBlanks(raw, nameEnd)
		p = skipBlanks(raw, p+1) // the colon
		end := valueEnd(raw, p)
		if col != colUnknown {
			if err := d.set(col, raw[p:end], &times); err != nil && first == nil {
				first = err
			}
		}
		p = skipBlanks(raw, end)
		if p < len(raw) && raw[p] == ',' {
			p = skipBlanks(raw, p+1)
		}
	}
	if err := times.into(&d.alert); err != nil && first == nil {
		first = err
	}
	return first
}

// column finds what the n-th member's name means.
func (d *rowDecoder) column(n int, name []byte) column {
	if n < len(d.names) && d.names[n].raw == string(name) {
		return d.names[n].col
	}
	plain := string(name)
	if strings.IndexByte(plain, '\\') >= 0 {
		b, _ := jsontext.AppendUnquote(nil, `"`+plain+`"`)
		plain = string(b)
	}
	col, ok := columnNames[strings.ToLower(plain)]
	if !ok {
		col = colUnknown
	}
	known := knownName{string(name), col}
	switch {
	case n < len(d.names):
		d.names[n] = known
	case n == len(d.names) && n < maxNames:
		d.names = append(d.names, known)
	}
	return col
}

// timeColumns collects the times of a row: the UTC variant wins wherever it stands, and a broken
// one matters only if it is the one that is used.
type timeColumns struct {
	utc, plain [3]timeText
}

type timeText struct {
	text []byte // nil: missing or null
}

func (t *timeColumns) into(a *alert.Alert) error {
	for i := range t.utc {
		text := t.utc[i].text
		if len(text) == 0 {
			text = t.plain[i].text
		}
		if len(text) == 0 {
			continue
		}
		at, ok := parseTime(text)
		switch {
		case i == 0 && (!ok || at.UnixMilli() <= 0): // .NET's 0001-01-01 means never
			return fmt.Errorf("lastmodified %q is not a time", clip(string(text)))
		case i == 0:
			a.LastModified = at
		case ok && i == 1 && at.UnixMilli() > 0:
			a.TimeAdded = at
		case ok && i == 2 && at.UnixMilli() > 0:
			a.TimeResolved = at
		}
	}
	return nil
}

// set takes one column. Strings, numbers, booleans and nulls are interchangeable, as SCOM's
// versions and even its endpoints differ in which they send; an object is not understood.
func (d *rowDecoder) set(col column, raw []byte, times *timeColumns) error {
	switch raw[0] {
	case '{', '[':
		return fmt.Errorf("column %s holds %s where a plain value belongs", nameOf(col), clip(string(raw)))
	case 'n':
		return nil
	}
	if col < textColumns {
		d.setText(col, raw)
		return nil
	}
	v := d.plain(raw)
	a := &d.alert
	switch col {
	case colID:
		id, err := alert.ParseID(string(v))
		if err != nil {
			return err
		}
		a.ID = id
	case colLastModified, colTimeAdded, colTimeResolved:
		times.plain[(col-colLastModified)/2].text = keep(v, raw)
	case colLastModifiedUTC, colTimeAddedUTC, colTimeResolvedUTC:
		times.utc[(col-colLastModifiedUTC)/2].text = keep(v, raw)
	case colState:
		state, err := parseState(v)
		a.ResolutionState = state
		return err
	case colSeverity:
		a.Severity = parseSeverity(v)
	case colPriority:
		a.Priority = parsePriority(v)
	case colRepeatCount:
		a.RepeatCount, _ = parseInt(v)
	case colIsMonitorAlert:
		a.IsMonitorAlert = parseBool(v)
	case colInMaintenance:
		a.InMaintenance = parseBool(v)
	}
	return nil
}

// keep makes v outlive the scratch buffer: it mostly is a part of raw already.
func keep(v, raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return v
	}
	return bytes.Clone(v)
}

// setText appends one text column to d.text.
func (d *rowDecoder) setText(col column, raw []byte) {
	from := len(d.text)
	if raw[0] == '"' && (bytes.IndexByte(raw, '\\') >= 0 || !utf8.Valid(raw)) {
		d.text, _ = jsontext.AppendUnquote(d.text, raw) // its error is invalid UTF-8, replaced by then
	} else {
		d.text = append(d.text, unquoted(raw)...)
	}
	s := d.text[from:]
	switch {
	case len(s) == 0:
		return
	case d.last[col] == string(s):
		d.text = d.text[:from]
		*textField(&d.alert, col) = d.last[col]
	default:
		d.spans[col] = span{int32(from), int32(len(d.text))}
		d.used = append(d.used, col)
	}
}

// finish makes the collected text one string and hands its parts out.
func (d *rowDecoder) finish() {
	all := string(d.text)
	for _, col := range d.used {
		s := all[d.spans[col].from:d.spans[col].to]
		*textField(&d.alert, col) = s
		d.last[col] = s
	}
}

// plain is the value without quotes and escapes; valid until the next call.
func (d *rowDecoder) plain(raw []byte) []byte {
	if raw[0] == '"' && bytes.IndexByte(raw, '\\') >= 0 {
		d.scratch, _ = jsontext.AppendUnquote(d.scratch[:0], raw)
		return d.scratch
	}
	return unquoted(raw)
}
