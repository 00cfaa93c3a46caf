package scom

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"scomconnector/poller/alert"
)

var (
	errRowTooLarge = errors.New("the row is too large, even with its long texts shortened")
	errNoRows      = errors.New("the answer has no rows")
	errHTML        = errors.New("HTML came instead of JSON: wrong path in the console's URL, or a log-on page")
)

// rowsReader reads the answer of data/alert as a stream: one row is in memory at a time. Not safe
// for concurrent use; reusable, so that its buffers are.
type rowsReader struct {
	lim     limits
	in      *bufio.Reader
	short   shortener // reads in
	cap     capReader // reads short
	dec     *jsontext.Decoder
	rows    rowDecoder
	wrapped bool // the answer stands in an array of one
}

func newRowsReader() *rowsReader {
	r := &rowsReader{lim: defaultLimits, in: bufio.NewReaderSize(nil, 64<<10)}
	r.dec = jsontext.NewDecoder(&r.cap)
	return r
}

// start makes the decoder begin with what short hands out next.
func (r *rowsReader) start() {
	r.cap = capReader{r: &r.short, most: r.lim.row}
	r.dec.Reset(&r.cap, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// callbackError marks an error of the caller's own function.
type callbackError struct{ err error }

func (e callbackError) Error() string { return e.err.Error() }

// read calls row for each row of the answer and returns how many there were. It succeeds only if
// the document ended properly and nothing but blanks follow.
func (r *rowsReader) read(body io.Reader, row func(alert.Row) error) (int, error) {
	r.in.Reset(body)
	defer r.in.Reset(nil)
	if err := r.skipPreamble(); err != nil {
		return 0, err
	}
	r.short = shortener{lim: &r.lim, in: r.in, text: r.short.text[:0]}
	r.start()

	r.wrapped = r.peek() == '[' // some scripts show the answer in an array of one
	if r.wrapped {
		if _, err := r.dec.ReadToken(); err != nil {
			return 0, err
		}
	}
	n, err := r.object(row)
	if err != nil {
		return n, err
	}
	if r.wrapped {
		kind := r.peek()
		if _, err := r.dec.ReadToken(); err != nil {
			return n, err
		}
		if kind != ']' {
			return n, errors.New("more than one answer came")
		}
	}
	r.peek()
	switch _, err := r.dec.ReadToken(); {
	case errors.Is(err, io.EOF):
		return n, nil
	case err != nil:
		return n, err
	}
	return n, errors.New("something follows the end of the answer")
}

// skipPreamble passes over blanks and the byte order mark that .NET likes to send, and tells HTML
// from JSON.
func (r *rowsReader) skipPreamble() error {
	for {
		head, err := r.in.Peek(1)
		if err == io.EOF {
			return errors.New("the answer is empty")
		}
		if err != nil {
			return err
		}
		switch head[0] {
		case ' ', '\t', '\r', '\n', 0xEF, 0xBB, 0xBF:
			if _, err := r.in.Discard(1); err != nil {
				return err
			}
		case '<':
			return errHTML
		default:
			return nil
		}
	}
}

// peek is the kind of the next value.
func (r *rowsReader) peek() jsontext.Kind {
	r.mark(r.lim.row)
	return r.dec.PeekKind()
}

// mark allows the next value this many bytes.
func (r *rowsReader) mark(most int64) {
	r.cap.from, r.cap.most = r.dec.InputOffset(), most
}

// object reads the answer's object, whose members may come in any order.
func (r *rowsReader) object(row func(alert.Row) error) (n int, err error) {
	if kind := r.peek(); kind != '{' {
		_, err := r.dec.ReadToken()
		return 0, orElse(err, errors.New("the answer is not a JSON object"))
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return 0, err
	}
	var seen bool
	var said string
	for r.peek() == '"' {
		token, err := r.dec.ReadToken()
		if err != nil {
			return n, err
		}
		switch name := token.String(); {
		case strings.EqualFold(name, "rows"):
			got, err := r.array(row)
			n += got
			if err != nil {
				return n, err
			}
			seen = true
		case strings.EqualFold(name, "errorMessage"):
			r.peek()
			value, err := r.dec.ReadValue()
			if err != nil {
				return n, err
			}
			said = errorMessage(append([]byte(`{"errorMessage":`), append(bytes.Clone(value), '}')...))
		default:
			if err := r.skip(); err != nil {
				return n, err
			}
		}
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return n, err
	}
	if said != "" {
		return n, saidError(said)
	}
	if !seen {
		return n, errNoRows
	}
	return n, nil
}

// array reads the rows. null is an empty list: that is how .NET prints one that was never filled.
func (r *rowsReader) array(row func(alert.Row) error) (n int, err error) {
	switch kind := r.peek(); kind {
	case 'n':
		_, err := r.dec.ReadToken()
		return 0, err
	case '[':
	default:
		_, err := r.dec.ReadToken()
		return 0, orElse(err, errors.New("rows is not a list"))
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return 0, err
	}
	for {
		kind := r.peek()
		if kind == ']' {
			_, err := r.dec.ReadToken()
			return n, err
		}
		one, err := r.row(n > 0)
		if err != nil {
			return n, err
		}
		n++
		if err := row(one); err != nil {
			return n, callbackError{err}
		}
	}
}

// row reads one row; follows says that it is not the first.
func (r *rowsReader) row(follows bool) (alert.Row, error) {
	raw, err := r.dec.ReadValue()
	switch {
	case errors.Is(err, errTooMuch):
		return r.longRow(follows)
	case err != nil:
		return alert.Row{}, err
	case int64(len(raw)) > r.lim.row: // it was buffered whole all the same
		return r.heldRow(raw)
	}
	return r.rows.decode(raw), nil
}

// heldRow treats a row that is in memory already as longRow would.
func (r *rowsReader) heldRow(raw []byte) (alert.Row, error) {
	s := shortener{lim: &r.lim, in: bufio.NewReader(bytes.NewReader(raw))}
	s.begin("", nil)
	cut, err := io.ReadAll(&s)
	if err != nil {
		return alert.Row{}, err
	}
	row := r.rows.decode(cut)
	if int64(len(cut)) > r.lim.shortened {
		return alert.Row{ID: row.ID, Err: errRowTooLarge, Raw: cut[:r.lim.raw]}, nil
	}
	return row, nil
}

// longRow reads a row that is too large to be held: again from its beginning, with its long texts
// cut. One alert with a huge text must not be lost, nor one that a row without an id might be.
func (r *rowsReader) longRow(follows bool) (alert.Row, error) {
	if err := r.again(follows); err != nil {
		return alert.Row{}, err
	}
	r.mark(r.lim.shortened)
	raw, err := r.dec.ReadValue()
	switch {
	case errors.Is(err, errTooMuch):
		return r.giantRow()
	case err != nil:
		return alert.Row{}, err
	}
	return r.rows.decode(raw), nil
}

// again takes back what was read of the next row and has it shortened. A decoder cannot step back:
// a new one is led to the same place by the tokens that stand around a row.
func (r *rowsReader) again(follows bool) error {
	prefix, tokens := `{"rows":[`, 3
	if r.wrapped {
		prefix, tokens = "["+prefix, tokens+1
	}
	if follows {
		prefix, tokens = prefix+"null", tokens+1
	}
	r.short.begin(prefix, r.dec.UnreadBuffer())
	r.dec = new(jsontext.Decoder) // and with the old one goes its large buffer
	r.start()
	for range tokens {
		if _, err := r.dec.ReadToken(); err != nil {
			return err
		}
	}
	return nil
}

// giantRow passes over a row that is too large even when shortened, such as one of thousands of
// columns. It is named by its id wherever that stands, and by its beginning.
func (r *rowsReader) giantRow() (alert.Row, error) {
	raw := bytes.TrimLeft(r.dec.UnreadBuffer(), ", \t\r\n")
	row := alert.Row{Err: errRowTooLarge, Raw: bytes.Clone(raw[:min(len(raw), r.lim.raw)])}
	for depth := r.dec.StackDepth(); ; {
		r.mark(r.lim.shortened)
		token, err := r.dec.ReadToken()
		if err != nil {
			return alert.Row{}, err
		}
		at := r.dec.StackDepth()
		if at <= depth {
			return row, nil
		}
		kind, n := r.dec.StackIndex(at)
		if isName := at == depth+1 && kind == '{' && n%2 == 1; !isName || !strings.EqualFold(token.String(), "id") {
			continue
		}
		r.mark(r.lim.shortened)
		value, err := r.dec.ReadValue()
		if err != nil {
			return alert.Row{}, err
		}
		if id, err := alert.ParseID(string(r.rows.plain(value))); err == nil {
			row.ID = id
		}
	}
}

// skip passes over the next value, token by token, so that a large one is never held.
func (r *rowsReader) skip() error {
	depth := r.dec.StackDepth()
	for {
		r.mark(r.lim.token)
		if _, err := r.dec.ReadToken(); err != nil {
			return err
		}
		if r.dec.StackDepth() <= depth {
			return nil
		}
	}
}

// saidError is an errorMessage inside an answer whose status said all was well.
type saidError string

func (e saidError) Error() string { return "SCOM says: " + string(e) }

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// errTooMuch is capReader's answer when a value needs more bytes than it may have.
var errTooMuch = errors.New("a single value of the answer is too large")

// capReader refuses to read on while the value that began at from would exceed most bytes.
type capReader struct {
	r          io.Reader
	read       int64
	from, most int64
}

func (c *capReader) Read(p []byte) (int, error) {
	if c.read-c.from > c.most {
		return 0, errTooMuch
	}
	n, err := c.r.Read(p)
	c.read += int64(n)
	return n, err
}
