package scom

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
)

// benchRow is one row of 741 bytes as a storm of heartbeat failures brings it.
func benchRow(dst []byte, i int) []byte {
	const size = 741
	from := len(dst)
	dst = fmt.Appendf(dst, `{"id":"d3144ac9-4316-45ce-94b9-%012x","severity":"Error","priority":1,"resolutionstate":"0","repeatcount":0,`+
		`"monitoringobjectdisplayname":"srv%05d.contoso.com","monitoringobjectpath":"srv%05d.contoso.com\\MSSQLSERVER","name":"Health Service Heartbeat Failure",`+
		`"owner":null,"category":"AvailabilityHealth","ismonitoralert":true,"lastmodifiedutc":"2026-01-02T03:04:%02d.7330000Z","timeaddedutc":"2026-01-02T03:04:05.2100000Z",`+
		`"lastmodifiedby":"System","netbioscomputername":"SRV%05d","netbiosdomainname":"CONTOSO","principalname":"srv%05d.contoso.com",`+
		`"monitoringobjectid":"a1b2c3d4-0000-0000-0000-%012x","customfield1":null,"description":"`,
		i, i, i, i%60, i, i, i)
	pad := size - (len(dst) - from) - len(`"}`)
	dst = append(dst, strings.Repeat("The health service on this computer failed to heartbeat. ", pad/57+1)[:pad]...)
	return append(dst, `"}`...)
}

func benchAnswer(rows int) []byte {
	b := []byte(`{"tableColumns":[{"field":"id","header":"Id","type":null,"hidden":true}],"rows":[`)
	for i := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = benchRow(b, i)
	}
	return append(b, `]}`...)
}

func BenchmarkDecode(b *testing.B) {
	const rows = 15000
	body := benchAnswer(rows)
	r := newRowsReader()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		n, err := r.read(bytes.NewReader(body), func(row alert.Row) error { return row.Err })
		if err != nil || n != rows {
			b.Fatalf("got %d rows, %v", n, err)
		}
	}
	perRow := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / rows
	b.ReportMetric(perRow, "ns/row")
}

// BenchmarkPoll is a whole poll of 15,000 rows over a loopback connection, server included.
func BenchmarkPoll(b *testing.B) {
	const rows = 15000
	body := benchAnswer(rows)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/authenticate":
			http.SetCookie(w, &http.Cookie{Name: "SCOMSessionId", Value: "x"})
			w.Write([]byte("{}"))
		case "/data/alert":
			w.Write(body)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	c, err := New(Config{Consoles: []Console{{URL: srv.URL, User: "u"}}}, hclog.NewNullLogger())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		answer, err := c.Poll(b.Context(), alert.Query{}, func(row alert.Row) error { return row.Err })
		if err != nil || answer.Rows != rows {
			b.Fatalf("got %d rows, %v", answer.Rows, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}
