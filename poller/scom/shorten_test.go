package scom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
	"scomconnector/poller/scom/scomtest"
)

// longID is the id of the n-th row of a test.
func longID(n int) string { return fmt.Sprintf("d3144ac9-4316-45ce-94b9-%012x", n) }

// longRow is a row whose description and context have these many bytes; the id stands last.
func longRow(n, description, context int) string {
	return `{"description":"` + strings.Repeat("d", description) + `","context":"` + strings.Repeat("c", context) +
		`","name":"row","resolutionstate":"254","lastmodified":"` + testTime + `","id":"` + longID(n) + `"}`
}

func wantShort(t *testing.T, what, got string, from byte, most int) {
	t.Helper()
	if want := strings.Repeat(string(from), most) + shortMark; got != want {
		t.Errorf("%s has %d bytes and ends with %q, want %d", what, len(got), got[max(0, len(got)-20):], len(want))
	}
}

// Of an alert with a huge text nothing but the end of that text may be lost, and it is the same
// whether the row came in small pieces or at once.
func TestHugeTextsAreShortenedAndTheRowsArrive(t *testing.T) {
	rows := []string{
		longRow(0, 10, 10), longRow(1, 1_200_000, 0), longRow(2, 1_200_000, 5_000_000), longRow(3, 10, 10),
		longRow(4, 1_200_000, 70_000), longRow(5, 100_000, 100_000), longRow(6, 0, 30_000_000),
	}
	body := `[{"tableColumns":[{"field":"id"}],"rows":[` + strings.Join(rows, " ,\n") + `]}]`
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(body), "in small pieces": iotest.HalfReader(strings.NewReader(body)), "not wrapped": strings.NewReader(body[1 : len(body)-1]),
	} {
		got, err := readAll(r)
		if err != nil || len(got) != len(rows) {
			t.Fatalf("%s: got %d rows, %v", name, len(got), err)
		}
		for i, row := range got {
			if row.Err != nil || row.ID.String() != longID(i) || row.Alert.Name != "row" || row.Alert.ResolutionState != 254 || row.Alert.LastModified.Second() != 5 {
				t.Fatalf("%s: row %d is %v: %v", name, i, row.ID, row.Err)
			}
		}
		wantShort(t, "description 1", got[1].Alert.Description, 'd', 64<<10)
		wantShort(t, "description 2", got[2].Alert.Description, 'd', 64<<10)
		wantShort(t, "context 2", got[2].Alert.Context, 'c', 64<<10)
		wantShort(t, "context 4", got[4].Alert.Context, 'c', 64<<10)
		wantShort(t, "context 6", got[6].Alert.Context, 'c', 64<<10)
		if a := got[5].Alert; len(a.Description) != 100_000 || len(a.Context) != 100_000 {
			t.Errorf("%s: a row that is small enough was shortened to %d and %d bytes", name, len(a.Description), len(a.Context))
		}
	}
}

func TestAlertsWithHugeTextsArriveThroughAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		want := map[string]bool{}
		for i := range 5 {
			a := scomtest.Alert{Name: "huge", Description: strings.Repeat("ü\n", 400_000)}
			if i > 2 {
				a.Context = strings.Repeat(`<x a="1"/>`, 500_000)
			}
			want[w.group.Raise(a)] = true
		}
		small := w.group.Raise(scomtest.Alert{Name: "small"})
		rows, answer := w.mustPoll()
		if answer.Rows != len(want)+1 || rows[small].Name != "small" {
			t.Errorf("%d rows came, small is %+v", answer.Rows, rows[small])
		}
		for id := range want {
			a := rows[id]
			if a.Name != "huge" || !strings.HasSuffix(a.Description, shortMark) || !utf8.ValidString(a.Description) || len(a.Description) < 40_000 {
				t.Errorf("%s: got %q and a description of %d bytes", id, a.Name, len(a.Description))
			}
		}
	})
}

// The same over a real connection, chunked as it comes.
func TestAlertsWithHugeTextsArriveOverTCP(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/authenticate":
			http.SetCookie(w, &http.Cookie{Name: "SCOMSessionId", Value: "x"})
			io.WriteString(w, "{}")
		case "/data/alert":
			io.WriteString(w, `{"rows":[`+longRow(0, 1_200_000, 0)+`,`+longRow(1, 1_200_000, 5_000_000)+`,`+longRow(2, 1_200_000, 0)+`]}`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	c, err := New(Config{Consoles: []Console{{URL: srv.URL, User: "u"}}}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := 0
	_, err = c.Poll(t.Context(), alert.Query{}, func(row alert.Row) error {
		if row.Err != nil || row.ID.String() != longID(n) {
			t.Errorf("row %d is %v: %v", n, row.ID, row.Err)
		}
		n++
		return nil
	})
	if err != nil || n != 3 {
		t.Errorf("got %d rows, %v", n, err)
	}
}

// No two rows that cannot be read may look alike, or one is taken for the other and never counted.
func TestGiantRowKeepsItsID(t *testing.T) {
	columns := func(n int) string {
		var b strings.Builder
		for i := range 6000 {
			fmt.Fprintf(&b, `"column%d":"%01000d",`, i, n)
		}
		return b.String()
	}
	idless := `{` + columns(7) + `"lastmodified":"` + testTime + `"}`
	idFirst := `{"ID":"{` + longID(1) + `}",` + columns(8) + `"x":{"id":"` + longID(99) + `"},"lastmodified":"` + testTime + `"}`
	idLast := `{` + columns(9) + `"id":"` + longID(2) + `"}`
	list := `[` + strings.Repeat(`"id","`+strings.Repeat("x", 60_000)+`",`, 100) + `2]`
	rows, err := readAll(strings.NewReader(`{"rows":[` + strings.Join([]string{longRow(0, 9, 9), idFirst, idless, list, idLast, longRow(4, 9, 9)}, ",") + `]}`))
	if err != nil || len(rows) != 6 {
		t.Fatalf("got %d rows, %v", len(rows), err)
	}
	if rows[0].Err != nil || rows[5].Err != nil {
		t.Errorf("the neighbours suffer: %v, %v", rows[0].Err, rows[5].Err)
	}
	raws := map[string]bool{}
	for i, want := range map[int]string{1: longID(1), 2: alert.ID{}.String(), 4: longID(2)} {
		row := rows[i]
		if !errors.Is(row.Err, errRowTooLarge) || row.ID.String() != want || len(row.Raw) != 64<<10 || row.Raw[0] != '{' {
			t.Errorf("row %d: %v, id %v, %d bytes, want %s", i, row.Err, row.ID, len(row.Raw), want)
		}
		raws[string(row.Raw)] = true
	}
	if rows[3].Err == nil || len(raws) != 3 {
		t.Errorf("the list: %v; %d different rows, want 3", rows[3].Err, len(raws))
	}
}

func TestHugeNestedValueIsEmptied(t *testing.T) {
	row := `{"future":{"a":[` + strings.Repeat(`{"id":"]}\""},`, 100_000) + `1]},"more":[[1],"` + strings.Repeat("x", 70_000) + `"],"id":"` + longID(1) + `","lastmodified":"` + testTime + `"}`
	if got := one(t, row); got.Err != nil || got.ID.String() != longID(1) {
		t.Errorf("got %v, %v", got.ID, got.Err)
	}
	if _, err := readAll(strings.NewReader(`{"rows":[` + strings.Replace(row, `x"],`, `x"},`, 1) + `]}`)); err == nil {
		t.Error("brackets that do not match are accepted")
	}
}

type xs struct{}

func (xs) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestHugeTextIsNotHeld(t *testing.T) {
	const size = 100 << 20
	body := io.MultiReader(strings.NewReader(`{"rows":[`+longRow(0, 1, 1)+`,{"id":"`+longID(1)+`","lastmodified":"`+testTime+`","context":"`), io.LimitReader(xs{}, size), strings.NewReader(`"}]}`))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	rows, err := readAll(body)
	runtime.ReadMemStats(&after)
	if err != nil || len(rows) != 2 || rows[1].Err != nil {
		t.Fatalf("got %d rows, %v", len(rows), err)
	}
	wantShort(t, "context", rows[1].Alert.Context, 'x', 64<<10)
	if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
		t.Errorf("%d MiB of memory were taken for a text of %d MiB", took>>20, size>>20)
	}
	endless := io.MultiReader(strings.NewReader(`{"rows":[{"context":"`), xs{})
	if _, err := readAll(endless); !errors.Is(err, errTooMuch) {
		t.Errorf("a text without an end: got %v, want %v", err, errTooMuch)
	}
	cut := io.MultiReader(strings.NewReader(`{"rows":[{"context":"`), io.LimitReader(xs{}, 2<<20))
	if _, err := readAll(cut); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an answer that was cut: got %v", err)
	}
}

func TestCutNeverTearsACharacter(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"abcdef", 3, "abc"},
		{"abü", 3, "ab"},
		{"aü", 3, "aü"},
		{"a😀b", 4, "a"},
		{`ab\nc`, 3, `ab`},
		{`ab\nc`, 4, `ab\n`},
		{`a\\\"b`, 4, `a\\`},
		{`a\u00fcb`, 6, `a`},
		{`a\u00fcb`, 7, `a\u00fc`},
		{`\ud83d\ude00b`, 11, ``},
		{`\uD83D\uDE00b`, 12, `\uD83D\uDE00`},
		{`\ud83dabcdefgh`, 6, `\ud83d`},
		{"a\xff\xffb", 2, "a\xff"},
	} {
		if got := string([]byte(c.text)[:cutAt([]byte(c.text), c.most)]); got != c.want {
			t.Errorf("%q at %d: got %q, want %q", c.text, c.most, got, c.want)
		}
	}
}

// With tiny limits every small answer is a long one: what comes out must be what comes out with the
// ordinary limits, but for texts that are cut.
func FuzzShorten(f *testing.F) {
	row := `{"id":"` + testID + `","lastmodified":"` + testTime + `","name":"a\\\"b` + strings.Repeat(`ü\n\ud83d\ude00`, 20) + `","x":[{"y":"]"}]}`
	f.Add(row + `,` + row)
	f.Add(row + `, null ,5,"` + strings.Repeat("x", 200) + `",{},` + row)
	f.Add(`{"id":"` + testID + `",` + strings.Repeat(`"a":1,`, 150) + `"lastmodified":"` + testTime + `"},` + row)
	f.Fuzz(func(t *testing.T, text string) {
		answer := `{"rows":[` + text + `]}`
		if !utf8.ValidString(text) || !json.Valid([]byte(answer)) {
			return
		}
		want, err := readAll(strings.NewReader(answer))
		if err != nil {
			return // such as two lists of rows, of which one is none
		}
		for _, in := range []io.Reader{strings.NewReader(answer), iotest.OneByteReader(strings.NewReader(answer))} {
			r := newRowsReader()
			r.lim = limits{row: 100, shortened: 800, text: 60, skipped: 1 << 20, token: 1 << 20, raw: 50}
			n := 0
			_, err := r.read(in, func(got alert.Row) error {
				sameButShort(t, text, got, want[n])
				n++
				return nil
			})
			if errors.Is(err, errTooMuch) {
				continue // a name, a number or blanks of such a size
			}
			if err != nil || n != len(want) {
				t.Fatalf("%s: got %d rows, want %d: %v", text, n, len(want), err)
			}
		}
	})
}

func sameButShort(t *testing.T, text string, got, want alert.Row) {
	t.Helper()
	if errors.Is(got.Err, errRowTooLarge) {
		if len(got.Raw) > 50 || bytes.HasPrefix(got.Raw, []byte(",")) {
			t.Errorf("%s: raw is %s", text, got.Raw)
		}
		return
	}
	if got.Err == nil && want.Err == nil {
		name := strings.TrimSuffix(got.Alert.Name, shortMark)
		if got.ID != want.ID || got.Alert.LastModified != want.Alert.LastModified || !strings.HasPrefix(want.Alert.Name, name) {
			t.Errorf("%s: got %v %q, want %v %q", text, got.ID, got.Alert.Name, want.ID, want.Alert.Name)
		}
		return
	}
	// A value that is short but for its escapes, blanks or zeros is cut, too, and may lose its meaning.
	padded := strings.Contains(text, `\u`) || strings.Contains(text, "    ") || strings.Contains(text, "00000")
	if (got.Err == nil) != (want.Err == nil) && !padded {
		t.Errorf("%s: got %v, want %v", text, got.Err, want.Err)
	}
}
