package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/test/pipenet"
)

// Each method that changes who leads sends the request that the API documents.
func TestRequestsAboutLeadership(t *testing.T) {
	var got string
	answer, code := "{}", 200
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = fmt.Sprintf("%s %s %s %s", r.Method, r.RequestURI, r.Header.Get("Content-Type"), body)
		w.WriteHeader(code)
		if code != http.StatusNoContent {
			w.Write([]byte(answer))
		}
	}))
	defer srv.Close()
	c := New(srv.URL, "")
	ctx := context.Background()
	const led = `{"leader":"secondary","maintenance":["primary"]}`
	for _, k := range []struct {
		name   string
		answer string
		code   int
		do     func() (any, error)
		want   string
		result string
	}{
		{"members", `{"leader":"a","members":[{"node":"a"},{"node":"b"}]}`, 200, func() (any, error) { m, err := c.Members(ctx); return len(m.Members), err }, "GET /api/v1/members  ", "2"},
		{"remove", "", 204, func() (any, error) { return nil, c.RemoveMember(ctx, "old node/1") }, "DELETE /api/v1/members/old%20node%2F1  ", "<nil>"},
		{"maintain", led, 200, func() (any, error) {
			return c.Maintain(ctx, v1.MaintenanceOrder{Node: "primary", Action: "enter", Force: true})
		}, `POST /api/v1/maintenance application/json {"node":"primary","action":"enter","force":true,"sticky":false}`, "{secondary [primary]}"},
		{"transfer", led, 200, func() (any, error) { return c.Transfer(ctx, v1.TransferOrder{To: "secondary"}) },
			`POST /api/v1/transfer application/json {"to":"secondary","force":false}`, "{secondary [primary]}"},
		{"take over", led, 200, func() (any, error) { return c.TakeOver(ctx, v1.TakeoverOrder{Force: true}) },
			`POST /api/v1/takeover application/json {"force":true}`, "{secondary [primary]}"},
		{"leads", "leader", 200, func() (any, error) { return c.Leads(ctx) }, "GET /leader  ", "true"},
		{"ready", "ready", 200, func() (any, error) { return c.Unready(ctx) }, "GET /readyz  ", "[]"},
		{"not ready", "no leader\n\nbehind\n", 503, func() (any, error) { return c.Unready(ctx) }, "GET /readyz  ", "[no leader behind]"},
		{"not ready, silently", "", 503, func() (any, error) { return c.Unready(ctx) }, "GET /readyz  ", "[it does not say why]"},
		{"leads not", "not the leader", 503, func() (any, error) { return c.Leads(ctx) }, "GET /leader  ", "false"},
	} {
		answer, code = k.answer, k.code
		result, err := k.do()
		if err != nil || got != k.want || fmt.Sprint(result) != k.result {
			t.Errorf("%s: got %v, %v by\n%s, want %s by\n%s", k.name, result, err, got, k.result, k.want)
		}
	}
	answer, code = `{"error":"no handover","hint":"wait"}`, 409
	_, err := c.Transfer(ctx, v1.TransferOrder{})
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != 409 || e.Message != "no handover" || e.Hint != "wait" {
		t.Errorf("a refusal: %+v", err)
	}
	srv.Close()
	if leads, err := c.Leads(ctx); err == nil || leads {
		t.Errorf("nobody there: %v, %v", leads, err)
	}
	if _, err := New("nonsense", "").Leads(ctx); err == nil {
		t.Error("an address that is none is asked")
	}
}

// Each call waits longer than the node may take, and not for ever.
func TestHowLongACallWaits(t *testing.T) {
	for name, k := range map[string]struct {
		do   func(*Client, context.Context) error
		want time.Duration
	}{
		"maintain": {func(c *Client, ctx context.Context) error {
			_, err := c.Maintain(ctx, v1.MaintenanceOrder{})
			return err
		}, 20 * time.Second},
		"transfer":  {func(c *Client, ctx context.Context) error { _, err := c.Transfer(ctx, v1.TransferOrder{}); return err }, 20 * time.Second},
		"take over": {func(c *Client, ctx context.Context) error { _, err := c.TakeOver(ctx, v1.TakeoverOrder{}); return err }, 30 * time.Second},
		"remove":    {func(c *Client, ctx context.Context) error { return c.RemoveMember(ctx, "x") }, 20 * time.Second},
		"members":   {func(c *Client, ctx context.Context) error { _, err := c.Members(ctx); return err }, 10 * time.Second},
		"leads":     {func(c *Client, ctx context.Context) error { _, err := c.Leads(ctx); return err }, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			network := pipenet.New()
			l, err := network.Listen("node:8085")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
			})}
			go srv.Serve(l)
			defer srv.Close()
			c := New("http://node:8085", "")
			tr := &http.Transport{DialContext: network.Dialer("cli")}
			defer tr.CloseIdleConnections()
			c.HTTP = &http.Client{Transport: tr}
			begun := time.Now()
			if err := k.do(c, t.Context()); err == nil || time.Since(begun) != k.want {
				t.Errorf("%s: %v after %v, want %v", name, err, time.Since(begun), k.want)
			}
		})
	}
}
