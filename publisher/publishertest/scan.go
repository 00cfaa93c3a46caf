package publishertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// envelope is a request body, taken apart without decoding it: at 100 MB a second that would cost
// more than everything it measures.
type envelope struct {
	token  string
	events []scanned
}

// scanned is one event; everything points into the body.
type scanned struct {
	raw                                 []byte
	signature, externalID, lastModified []byte
	resolutionState, severity           int
}

// maxSignature is the size of Moogsoft's signature column.
const maxSignature = 767

var errBody = errors.New("not an object with an events list")

// scan takes a body apart, into the memory of room. Light trusts that the JSON is well formed.
func scan(body []byte, room []scanned, light bool) (envelope, error) {
	env := envelope{events: room}
	if !light && !json.Valid(body) {
		return env, errors.New("not JSON")
	}
	s := scanner{b: body}
	found := false
	err := s.object(func(key []byte) error {
		switch string(key) {
		case "auth_token":
			raw, err := s.text()
			env.token = unquote(raw)
			return err
		case "events":
			found = true
			return s.list(func() error {
				e, err := s.event()
				env.events = append(env.events, e)
				return err
			})
		}
		return s.skip()
	})
	if err == nil && !found {
		err = errBody
	}
	if err == nil && len(bytes.TrimSpace(body[s.i:])) > 0 {
		err = errors.New("more than one value")
	}
	return env, err
}

// event takes one event apart and checks what Moogsoft demands of it.
func (s *scanner) event() (scanned, error) {
	e := scanned{resolutionState: -1, severity: -1}
	s.space()
	start := s.i
	err := s.object(func(key []byte) (err error) {
		switch string(key) {
		case "signature":
			e.signature, err = s.text()
		case "external_id":
			e.externalID, err = s.text()
		case "severity":
			e.severity, err = s.number()
		case "custom_info":
			err = s.customInfo(&e)
		default:
			err = s.skip()
		}
		return err
	})
	if err != nil {
		return e, err
	}
	e.raw = s.b[start:s.i]
	if len(e.signature) == 0 || len(e.signature) > maxSignature {
		return e, fmt.Errorf("a signature of %d bytes", len(e.signature))
	}
	if e.severity < 0 || e.severity > 5 {
		return e, fmt.Errorf("severity %d", e.severity)
	}
	return e, nil
}

func (s *scanner) customInfo(e *scanned) error {
	if s.peek() != '{' {
		return s.skip()
	}
	return s.object(func(key []byte) error {
		if string(key) != "scom" || s.peek() != '{' {
			return s.skip()
		}
		return s.object(func(key []byte) (err error) {
			switch string(key) {
			case "lastModified":
				e.lastModified, err = s.text()
			case "resolutionState":
				e.resolutionState, err = s.number()
			default:
				err = s.skip()
			}
			return err
		})
	})
}

// scanner walks JSON once, from left to right.
type scanner struct {
	b []byte
	i int
}

var errCut = errors.New("JSON ends too early")

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\r' || s.b[s.i] == '\t') {
		s.i++
	}
}

// peek is the next byte that is not space; 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

func (s *scanner) expect(c byte) error {
	switch got := s.peek(); got {
	case c:
		s.i++
		return nil
	case 0:
		return errCut
	default:
		return fmt.Errorf("%q at byte %d, want %q", got, s.i, c)
	}
}

// object calls each with every key; each consumes the value.
func (s *scanner) object(each func(key []byte) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.i++
		return nil
	}
	for {
		key, err := s.text()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := each(key); err != nil {
			return err
		}
		if s.peek() == '}' {
			s.i++
			return nil
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}

// list calls each before every value, which it consumes.
func (s *scanner) list(each func() error) error {
	if err := s.expect('['); err != nil {
		return err
	}
	if s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		if err := each(); err != nil {
			return err
		}
		if s.peek() == ']' {
			s.i++
			return nil
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}

// text is a string as it stands between its quotes; null is nil.
func (s *scanner) text() ([]byte, error) {
	if s.peek() == 'n' {
		return nil, s.skip()
	}
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	start := s.i
	if err := s.close(); err != nil {
		return nil, err
	}
	return s.b[start : s.i-1], nil
}

// close moves behind the quote that ends the string.
func (s *scanner) close() error {
	for {
		n := bytes.IndexByte(s.b[s.i:], '"')
		if n < 0 {
			return errCut
		}
		end := s.i + n
		back := end
		for back > s.i && s.b[back-1] == '\\' {
			back--
		}
		s.i = end + 1
		if (end-back)%2 == 0 {
			return nil
		}
	}
}

func (s *scanner) number() (int, error) {
	s.space()
	start := s.i
	if err := s.skip(); err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(s.b[start:s.i]))
	if err != nil {
		return 0, fmt.Errorf("%.20q is not a whole number", s.b[start:s.i])
	}
	return n, nil
}

// skip moves behind one value of any kind.
func (s *scanner) skip() error {
	switch s.peek() {
	case 0:
		return errCut
	case '"':
		s.i++
		return s.close()
	case '{', '[':
		return s.skipNested()
	}
	start := s.i
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ',', '}', ']', ' ', '\n', '\r', '\t':
			if s.i == start {
				return fmt.Errorf("%q at byte %d, want a value", s.b[s.i], s.i)
			}
			return nil
		}
		s.i++
	}
	return nil
}

func (s *scanner) skipNested() error {
	depth := 0
	for s.i < len(s.b) {
		c := s.b[s.i]
		s.i++
		switch c {
		case '"':
			if err := s.close(); err != nil {
				return err
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return nil
			}
		}
	}
	return errCut
}

// unquote decodes the escapes of a string, for the few that may have any.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	var v string
	if json.Unmarshal([]byte(`"`+string(raw)+`"`), &v) != nil {
		return string(raw)
	}
	return v
}
