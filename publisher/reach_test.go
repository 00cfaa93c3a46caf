package publisher_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scomconnector/publisher"
	"scomconnector/publisher/publishertest"
)

// TestReachingALAMNeitherPostsNorLogsOn: whoever reaches it asks for nothing, and what it would say to a request counts for nothing.
func TestReachingALAMNeitherPostsNorLogsOn(t *testing.T) {
	ca := must(publishertest.NewCA("CA"))
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	write(t, caFile, ca.PEM())
	plain := lam(t, publishertest.Options{})
	plain.Set(publishertest.Faults{Status: 401})
	secure := lam(t, publishertest.Options{TLS: server(must(ca.Issue(publishertest.Leaf{})))})
	foreign := lam(t, publishertest.Options{TLS: server(must(publishertest.SelfSigned(publishertest.Leaf{})))})
	open := must(publishertest.ListenProxy("127.0.0.1:0", "", ""))
	defer open.Close()
	shut := must(publishertest.ListenProxy("127.0.0.1:0", "scott", "tiger"))
	defer shut.Close()
	const nobody = "http://127.0.0.1:1/" // tcpmux: nothing listens there

	to := func(url, proxy string) publisher.LAM {
		return publisher.LAM{Name: "moog", URL: url, PublicKeyFile: caFile, Username: "scott", Password: "tiger", ProxyURL: proxy}
	}
	signsOn := to(secure.URL(), shut.Addr())
	signsOn.ProxyUsername, signsOn.ProxyPassword = "scott", "tiger"
	for name, c := range map[string]struct {
		lams []publisher.LAM
		want []string // in the error; none: it is reached
	}{
		"one that refuses our credentials":               {[]publisher.LAM{to(plain.URL(), "")}, nil},
		"over TLS":                                       {[]publisher.LAM{to(secure.URL(), "")}, nil},
		"the second of two":                              {[]publisher.LAM{to(nobody, ""), to(plain.URL(), "")}, nil},
		"over TLS, through a proxy":                      {[]publisher.LAM{to(secure.URL(), open.Addr())}, nil},
		"through a proxy that wants credentials we lack": {[]publisher.LAM{to(secure.URL(), shut.Addr())}, nil},
		"through a proxy with credentials":               {[]publisher.LAM{signsOn}, nil},
		"without TLS, through a proxy":                   {[]publisher.LAM{to(nobody, open.Addr())}, nil},
		"nobody listens":                                 {[]publisher.LAM{to(nobody, "")}, []string{"LAM moog: refuses connections"}},
		"none of two":                                    {[]publisher.LAM{to(nobody, ""), to(foreign.URL(), "")}, []string{"refuses connections", "not trusted here"}},
		"another certificate, through a proxy":           {[]publisher.LAM{to(foreign.URL(), open.Addr())}, []string{"not trusted here"}},
		"a proxy that does not reach it":                 {[]publisher.LAM{to("https://127.0.0.1:1/", open.Addr())}, []string{"the proxy does not connect us to it (HTTP 502"}},
		"no proxy":                                       {[]publisher.LAM{to(secure.URL(), "127.0.0.1:1")}, []string{"refuses connections"}},
		"a wrong address":                                {[]publisher.LAM{to(plain.URL(), ""), to("ftp://moog/", "")}, []string{"must begin with http"}},
		"none at all":                                    {nil, []string{"no LAM is configured"}},
	} {
		err := publisher.Reach(t.Context(), publisher.Config{Name: "default", LAMs: c.lams})
		if (err == nil) != (len(c.want) == 0) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %q, want %q in it", name, err, want)
			}
		}
	}
	for _, l := range []*publishertest.LAM{plain, secure} {
		if n := l.Counts().Requests; n != 0 {
			t.Errorf("a LAM has got %d requests, want none", n)
		}
	}
	if n := shut.Refused(); n > 1 || len(shut.Requests()) != 0 {
		t.Errorf("the proxy was asked with wrong credentials %d times and with right ones for %v, want once at most, and never", n, shut.Requests())
	}
}

// TestReachEndsWithItsContext: a network that swallows everything costs the caller's time and no more.
func TestReachEndsWithItsContext(t *testing.T) {
	hole := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	begun := time.Now()
	err := publisher.Reach(ctx, publisher.Config{Name: "default", LAMs: []publisher.LAM{{URL: "https://moog/"}, {URL: "http://moog/"}}, Dial: hole})
	if err == nil || !strings.Contains(err.Error(), "cannot be reached in time") || time.Since(begun) > 4*time.Second {
		t.Errorf("got %v after %v", err, time.Since(begun))
	}
}
