package scomtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/scom/scomtest"
)

// benchColumns are what a client that wants all would ask.
var benchColumns = strings.Split("id lastmodifiedutc lastmodified resolutionstate severity priority repeatcount ismonitoralert monitoringobjectinmaintenancemode name description "+
	"category owner ticketid resolvedby lastmodifiedby monitoringobjectid monitoringobjectname monitoringobjectdisplayname monitoringobjectpath netbioscomputername "+
	"netbiosdomainname principalname sitename monitorname alertsource timeaddedutc timeresolvedutc", " ")

// BenchmarkServe15000 serves 15,000 alerts in one answer: rows that are kept from the answer before, and
// rows that are new.
func BenchmarkServe15000(b *testing.B) {
	for name, cache := range map[string]int64{"kept": 0, "new": -1} {
		b.Run(name, func(b *testing.B) {
			g := scomtest.New(scomtest.Options{DuplicateEvery: -1, CacheBytes: cache})
			g.Storm(b.Context(), 15_000, 0)
			p, body := asker(b, g.Console(scomtest.ConsoleOptions{}))
			first := p(body)
			b.SetBytes(first)
			b.ReportAllocs()
			for b.Loop() {
				if p(body) != first {
					b.Fatal("the answer's length changed")
				}
			}
			b.ReportMetric(15_000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(first)/15_000, "B/row")
		})
	}
}

// BenchmarkDelta asks for the last of 100,000 alerts.
func BenchmarkDelta(b *testing.B) {
	g := scomtest.New(scomtest.Options{DuplicateEvery: -1})
	g.Populate(100_000, 24*time.Hour)
	g.Raise(scomtest.Alert{Name: "last", CustomFields: [10]string{"last"}})
	p, _ := asker(b, g.Console(scomtest.ConsoleOptions{}))
	body := fmt.Appendf(nil, `{"criteria":"LastModified >= '%s'","displayColumns":["id"]}`, time.Now().Add(-time.Second).UTC().Format("2006-01-02T15:04:05Z"))
	for b.Loop() {
		p(body)
	}
}

// sink counts an answer's bytes and keeps none.
type sink struct {
	header http.Header
	n      int64
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { s.n += int64(len(p)); return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// asker logs on and returns a function that asks data/alert without any network and returns the answer's length.
func asker(t testing.TB, c *scomtest.Console) (ask func(body []byte) int64, all []byte) {
	login := httptest.NewRecorder()
	c.ServeHTTP(login, httptest.NewRequest(http.MethodPost, "/OperationsManager/authenticate", strings.NewReader(`"KE5ldHdvcmspOkNPTlRPU09cc3ZjLW1vb2dzb2Z0OnNpbXVsYXRlZA=="`)))
	cookies := login.Result().Cookies()
	if login.Code != 200 || len(cookies) != 2 {
		t.Fatalf("log-on: %d %s", login.Code, login.Body)
	}
	token := strings.ReplaceAll(cookies[1].Value, "%2F", "/")
	all, _ = json.Marshal(map[string]any{"displayColumns": benchColumns})
	return func(body []byte) int64 {
		r := httptest.NewRequest(http.MethodPost, "/OperationsManager/data/alert", bytes.NewReader(body))
		for _, c := range cookies {
			r.AddCookie(c)
		}
		r.Header.Set("SCOM-CSRF-TOKEN", token)
		w := &sink{header: http.Header{}}
		c.ServeHTTP(w, r)
		return w.n
	}, all
}

// TestLargeAnswerIsNotHeld: 200 MB go out while little of them is in memory.
func TestLargeAnswerIsNotHeld(t *testing.T) {
	g := scomtest.New(scomtest.Options{DuplicateEvery: -1, CacheBytes: 1 << 20})
	long := strings.Repeat("a long description ", 13_500/19)
	for range 15_000 {
		g.Raise(scomtest.Alert{Name: "large", Description: long}) // one text, many alerts
	}
	ask, _ := asker(t, g.Console(scomtest.ConsoleOptions{}))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := ask([]byte(`{"displayColumns":["id","name","description"]}`))
	runtime.ReadMemStats(&after)
	if n < 200_000_000 {
		t.Errorf("got %d bytes", n)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 64<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}
