package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tailscale/hujson"
)

// MaxFileBytes bounds both files. The cluster's file travels as one command of the replicated log,
// which may have 64 KiB with its envelope.
const MaxFileBytes = 60 << 10

var utf8BOM = []byte("\xef\xbb\xbf")

// readFile reads a settings file of bounded size.
func readFile(path string) ([]byte, Faults) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Faults{{File: path, Message: fileTrouble(err)}}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, Faults{{File: path, Message: fileTrouble(err)}}
	}
	return text, nil // parse judges the size
}

// fileTrouble is the error without the path that the message already begins with.
func fileTrouble(err error) string {
	var pe *os.PathError
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, os.ErrPermission):
		return "this account may not read it"
	case errors.As(err, &pe):
		return "cannot be read: " + pe.Err.Error()
	}
	return "cannot be read: " + err.Error()
}

// parse is hujson's parser with messages for people. Its own are not shown as they are: they quote the
// text, and the text may be half a password.
func parse(file string, text []byte) (hujson.Value, *Fault) {
	fault := func(line int, format string, args ...any) (hujson.Value, *Fault) {
		return hujson.Value{}, &Fault{File: file, Line: line, Message: fmt.Sprintf(format, args...)}
	}
	if len(text) > MaxFileBytes {
		return fault(0, "the file is larger than %d KiB: shorten its comments", MaxFileBytes>>10)
	}
	if isUTF16(text) {
		return fault(0, "the file is UTF-16 text: save it as UTF-8")
	}
	if i := invalidUTF8(text); i >= 0 {
		return fault(lineOf(text, i), "there is a character that is not UTF-8: save the file as UTF-8")
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return fault(0, "the file is empty")
	}
	v, err := hujson.Parse(blankBOM(text))
	if err == nil {
		return v, nil
	}
	m := syntaxPlace.FindStringSubmatch(err.Error())
	if m == nil {
		return fault(0, "is not JSON")
	}
	line, _ := strconv.Atoi(m[1])
	what := m[3]
	switch {
	case strings.HasPrefix(what, `invalid literal: "`):
		what = `the text in quotes is not valid JSON: a backslash is written \\, a quotation mark \"`
	case strings.HasPrefix(what, "invalid literal"):
		what = "is neither a number nor true, false or null: text goes in quotes"
	case strings.Contains(what, "EOF"):
		return fault(lineOf(text, len(text)), "is not JSON: the file ends too early: a bracket, a quotation mark or a comment is not closed")
	}
	return fault(line, "is not JSON, near column %s: %s", m[2], what)
}

var syntaxPlace = regexp.MustCompile(`(?s)^hujson: line (\d+), column (\d+): (.*)$`)

// isUTF16 goes by the mark that Windows puts before such text.
func isUTF16(text []byte) bool {
	return bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff"))
}

// blankBOM makes blanks of the mark that Windows editors put before UTF-8, so that offsets stay true, and ends the last
// line, since the parser wants a line comment to be ended.
func blankBOM(text []byte) []byte {
	out := make([]byte, 0, len(text)+1)
	if bytes.HasPrefix(text, utf8BOM) {
		out = append(out, "   "...)
	}
	out = append(out, text[len(out):]...)
	if !bytes.HasSuffix(out, []byte("\n")) {
		out = append(out, '\n')
	}
	return out
}

func invalidUTF8(text []byte) int {
	for i := 0; i < len(text); {
		c, n := utf8.DecodeRune(text[i:])
		if c == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}
