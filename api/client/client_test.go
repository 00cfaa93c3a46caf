package client

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/test/pipenet"
)

func TestStatus(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/status" || r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Write([]byte(`{"node":"primary","verdict":{"level":"ok"},"totals":{"processed":7},"somethingNewer":{}}`))
	}))
	defer srv.Close()
	s, err := New(srv.URL+"/", " s3cret\n").Status(t.Context())
	if err != nil || s.Node != "primary" || s.Totals.Processed != 7 || s.Verdict.Level != "ok" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	const most = 1 << 20 // of bytes, so that a slow machine has read them in time
	var answer http.HandlerFunc
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer srv.Close()
	for _, c := range []struct {
		name    string
		answer  http.HandlerFunc
		code    int
		message string
		hint    string
	}{
		{"the node's own", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			w.Write([]byte(`{"error":"a token is needed to read","hint":"send it"}`))
		}, 401, "a token is needed to read", "send it"},
		{"a stranger's", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			w.Write([]byte("<html>Bad Gateway"))
		}, 502, "answers 502 Bad Gateway", "check the address"},
		{"a login page", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>Log in")) }, 200, "does not answer as a scomconnector node", "check the address"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, 302, "answers 302 Found", "check the address"},
		{"a flood", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(strings.Repeat(" ", most+1))) }, 200, "larger than", "check the address"},
		{"a cut answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte(`{"node":`))
		}, 0, "cannot reach", "is the node running"},
	} {
		answer = c.answer
		client := New(srv.URL, "")
		client.most = most
		_, err := client.Status(t.Context())
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Code != c.code || !strings.Contains(e.Message, c.message) || !strings.Contains(e.Hint, c.hint) {
			t.Errorf("%s: got %+v, want %d %q %q", c.name, err, c.code, c.message, c.hint)
		}
	}
}

func TestAddressesThatAreNone(t *testing.T) {
	for _, base := range []string{"", "scomc1:8085", "ftp://x", "http://", "http://[::1", "http://a b/"} {
		_, err := New(base, "").Status(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Message, "is not the address of a node") || e.Hint == "" {
			t.Errorf("%q: got %v", base, err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Addr().String()
	l.Close()
	_, err = New(base, "").Status(t.Context())
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != 0 || strings.Count(e.Message, base) != 1 {
		t.Errorf("got %v, want the address once and why", err)
	}
}

func TestSilentNodeEndsWithinTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := pipenet.New()
		l, err := network.Listen("node:8085")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}
		go srv.Serve(l)
		defer srv.Close()
		c := New("http://node:8085", "")
		tr := &http.Transport{DialContext: network.Dialer("cli")}
		defer tr.CloseIdleConnections()
		c.HTTP = &http.Client{Transport: tr}
		start := time.Now()
		_, err = c.Status(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Message, "does not answer in time") || time.Since(start) != callDeadline {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}
