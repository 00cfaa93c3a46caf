package scomtest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// criteria is a parsed text of the SDK's MonitoringAlertCriteria. Names are case-sensitive, key words
// are not; a comparison with NULL is never true, as in SQL.
type criteria struct {
	match func(*Alert) bool
	// from is a lower bound of LastModified, and ids, if not nil, are the only ids that can match:
	// they let the store look at less.
	from time.Time
	ids  []string
}

// anything is no criteria at all.
var anything = criteria{match: func(*Alert) bool { return true }}

// maxDepth bounds brackets, so that a strange text cannot exhaust the stack.
const maxDepth = 200

// parseCriteria reads a text such as (ResolutionState = '0') AND LastModified >= '2026-01-02T03:04:05Z'.
func parseCriteria(s string, dates dateRules) (criteria, error) {
	tokens, err := scan(s)
	if err != nil {
		return criteria{}, err
	}
	p := &parser{tokens: tokens, dates: dates}
	c, err := p.or()
	if err != nil {
		return criteria{}, err
	}
	if t := p.peek(); t.kind != endToken {
		return criteria{}, fmt.Errorf("unexpected %q at position %d", t.text, t.pos)
	}
	return c, nil
}

type tokenKind int

const (
	endToken tokenKind = iota
	word               // a name, a key word or a bare number
	quoted             // a value between quotes, unescaped
	symbol             // an operator, a bracket or a comma
)

type token struct {
	kind tokenKind
	text string
	pos  int
}

// scan cuts the text into tokens.
func scan(s string) ([]token, error) {
	var list []token
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
		case c == '\'':
			text, next, err := scanQuoted(s, i)
			if err != nil {
				return nil, err
			}
			list = append(list, token{quoted, text, i})
			i = next
		case wordByte(c):
			end := i
			for end < len(s) && wordByte(s[end]) {
				end++
			}
			list = append(list, token{word, s[i:end], i})
			i = end
		default:
			op := operatorAt(s[i:])
			if op == "" {
				return nil, fmt.Errorf("unexpected character %q at position %d", c, i)
			}
			list = append(list, token{symbol, op, i})
			i += len(op)
		}
	}
	return append(list, token{endToken, "end of text", len(s)}), nil
}

func scanQuoted(s string, start int) (text string, next int, err error) {
	var b strings.Builder
	for i := start + 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), i + 1, nil
	}
	return "", 0, fmt.Errorf("the quote at position %d is not closed", start)
}

// wordByte includes what dates are made of, so that an unquoted date is one word and refused as one.
func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == ':' || c == '.'
}

func operatorAt(s string) string {
	for _, op := range []string{"==", "!=", "<>", ">=", "<=", "=", ">", "<", "(", ")", ","} {
		if strings.HasPrefix(s, op) {
			return op
		}
	}
	return ""
}

type parser struct {
	tokens []token
	at     int
	depth  int
	dates  dateRules
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != endToken {
		p.at++
	}
	return t
}

// keyword takes the key word if it is next.
func (p *parser) keyword(k string) bool {
	if t := p.peek(); t.kind == word && strings.EqualFold(t.text, k) {
		p.at++
		return true
	}
	return false
}

// take takes the symbol if it is next.
func (p *parser) take(s string) bool {
	if t := p.peek(); t.kind == symbol && t.text == s {
		p.at++
		return true
	}
	return false
}

func (p *parser) or() (criteria, error) {
	left, err := p.and()
	for err == nil && p.keyword("OR") {
		var right criteria
		if right, err = p.and(); err == nil {
			left = either(left, right)
		}
	}
	return left, err
}

func (p *parser) and() (criteria, error) {
	left, err := p.term()
	for err == nil && p.keyword("AND") {
		var right criteria
		if right, err = p.term(); err == nil {
			left = both(left, right)
		}
	}
	return left, err
}

func (p *parser) term() (criteria, error) {
	if !p.take("(") {
		return p.comparison()
	}
	if p.depth++; p.depth > maxDepth {
		return criteria{}, fmt.Errorf("more than %d brackets inside each other", maxDepth)
	}
	c, err := p.or()
	p.depth--
	if err != nil {
		return criteria{}, err
	}
	if !p.take(")") {
		t := p.peek()
		return criteria{}, fmt.Errorf("a closing bracket is missing before %q at position %d", t.text, t.pos)
	}
	return c, nil
}

func either(a, b criteria) criteria {
	c := criteria{match: func(x *Alert) bool { return a.match(x) || b.match(x) }}
	if c.from = a.from; b.from.Before(a.from) {
		c.from = b.from
	}
	if a.ids != nil && b.ids != nil {
		c.ids = slices.Concat(a.ids, b.ids)
	}
	return c
}

func both(a, b criteria) criteria {
	c := criteria{match: func(x *Alert) bool { return a.match(x) && b.match(x) }}
	if c.from = a.from; b.from.After(a.from) {
		c.from = b.from
	}
	if c.ids = a.ids; c.ids == nil {
		c.ids = b.ids
	}
	return c
}

// comparison is NAME OPERATOR VALUE, NAME IN (VALUE, ...) or NAME IS [NOT] NULL.
func (p *parser) comparison() (criteria, error) {
	name := p.next()
	if name.kind != word {
		return criteria{}, fmt.Errorf("a property name is expected at position %d, not %q", name.pos, name.text)
	}
	prop, ok := properties[name.text]
	if !ok {
		return criteria{}, fmt.Errorf("the property %q at position %d is not known", name.text, name.pos)
	}
	if p.keyword("IS") {
		return p.null(prop)
	}
	if p.keyword("IN") {
		return p.in(name.text, prop)
	}
	op := p.next()
	operator := strings.ToUpper(op.text)
	if op.kind == endToken || !slices.Contains(operatorsOf[prop.kind], operator) {
		return criteria{}, fmt.Errorf("the operator %q at position %d does not fit %s", op.text, op.pos, name.text)
	}
	v, err := p.value(prop.kind)
	if err != nil {
		return criteria{}, err
	}
	c, err := prop.compare(operator, v)
	if err != nil {
		return criteria{}, err
	}
	switch {
	case name.text == "LastModified" && (operator == ">" || strings.Contains(operator, "=") && !strings.ContainsAny(operator, "<!")):
		c.from = v.at
	case name.text == "Id" && (operator == "=" || operator == "=="):
		c.ids = []string{v.text}
	}
	return c, nil
}

func (p *parser) null(prop property) (criteria, error) {
	not := p.keyword("NOT")
	if !p.keyword("NULL") {
		t := p.peek()
		return criteria{}, fmt.Errorf("NULL is expected at position %d, not %q", t.pos, t.text)
	}
	return criteria{match: func(a *Alert) bool { return prop.null(a) != not }}, nil
}

func (p *parser) in(name string, prop property) (criteria, error) {
	if !p.take("(") {
		t := p.peek()
		return criteria{}, fmt.Errorf("a bracket is expected after IN at position %d, not %q", t.pos, t.text)
	}
	var values []value
	for {
		v, err := p.value(prop.kind)
		if err != nil {
			return criteria{}, err
		}
		values = append(values, v)
		if p.take(",") {
			continue
		}
		if p.take(")") {
			break
		}
		t := p.peek()
		return criteria{}, fmt.Errorf("a comma or a closing bracket is expected at position %d, not %q", t.pos, t.text)
	}
	c := prop.in(values)
	if name == "Id" {
		for _, v := range values {
			c.ids = append(c.ids, v.text)
		}
	}
	return c, nil
}
