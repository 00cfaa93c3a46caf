package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cmd/daemon"
	"scomconnector/poller/alert"
	"scomconnector/publisher"
)

// lams makes a part for each LAM, and what looks at it.
func (e *exam) lams(ctx context.Context) (parts []*part, jobs []func()) {
	if e.cluster == nil {
		p := e.part("lam", "")
		p.add("", notTried("%s", e.why))
		return []*part{p}, nil
	}
	for _, d := range e.cluster.Destinations() {
		cfg, err := daemon.Destination(e.cluster, d)
		if err != nil {
			p := e.part("lam", d.Name)
			p.add("", notTried("%v", err))
			parts = append(parts, p)
			continue
		}
		for _, l := range cfg.LAMs {
			p := e.part("lam", l.Name)
			p.group = "lam " + d.Name
			one := cfg
			one.LAMs = []publisher.LAM{l}
			parts, jobs = append(parts, p), append(jobs, func() { p.lam(ctx, one) })
		}
	}
	return parts, jobs
}

// lam looks at one LAM; cfg holds it alone.
func (p *part) lam(ctx context.Context, cfg publisher.Config) {
	l := cfg.LAMs[0]
	p.doing("connection")
	steps := []string{"path", "clock", "event", "size"}
	target, err := url.Parse(l.URL)
	if err != nil {
		p.add("name", finding{Fail, "the address is not a URL", "correct MoogUrl"})
		p.skip("there is no way to it", steps...)
		return
	}
	conf, err := publisher.TLS(l)
	if err != nil {
		p.add("tls", finding{Fail, err.Error(), "correct MoogPublicKey, ClientCertFile or ClientKeyFile"})
		p.skip("there is no way to it", steps...)
		return
	}
	target.User = nil
	r := route{target: target, tls: conf, plain: "events and token cross the network readable"}
	if l.ProxyURL != "" {
		r.proxy = &url.URL{Scheme: "http", Host: l.ProxyURL}
		if l.ProxyUsername != "" {
			r.proxy.User = url.UserPassword(l.ProxyUsername, l.ProxyPassword)
		}
	}
	if !p.wire(ctx, r) {
		p.skip("there is no way to it", steps...)
		return
	}
	p.doing("GET")
	p.get(ctx, r, l.Username != "" || strings.Contains(l.URL, "@"))
	if !p.exam.opt.ProbeLAM {
		p.add("event", notTried("nothing was posted, so nothing shows whether token and path are right: --probe-lam posts an event marked as a test"))
		p.add("size", notTried("whether it takes %s at a time (MaxPayloadSizeInMB): --probe-lam posts one marked event of that size", bytesWord(uint64(cfg.MaxPayloadBytes))))
		return
	}
	p.doing("test events")
	p.post(ctx, cfg)
}

// mostPage is what is read of an answer to GET.
const mostPage = 64 << 10

// get shows what a GET shows, without a log-on: a LAM is made for POST, so that much stays open.
func (p *part) get(ctx context.Context, r route, hasUser bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*step)
	defer cancel()
	tr := &http.Transport{TLSClientConfig: r.tls.Clone(), DisableKeepAlives: true, Proxy: http.ProxyURL(r.proxy)}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.target.String(), nil)
	if err != nil {
		p.add("path", finding{Fail, err.Error(), "correct MoogUrl"})
		return
	}
	req.Header.Set("User-Agent", "scomconnector doctor")
	start := time.Now()
	res, err := tr.RoundTrip(req)
	if err != nil {
		f := finding{Fail, "GET brings no answer: " + publisher.ExplainTLS(err), "look at the LAM and at what stands in front of it"}
		p.add("path", f)
		p.skip("there was no answer", "clock")
		return
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, mostPage)) // what has come is enough
	took := time.Since(start)
	html := strings.Contains(strings.ToLower(res.Header.Get("Content-Type")), "html") || strings.HasPrefix(strings.TrimSpace(string(body)), "<")
	to := "elsewhere"
	if u, err := res.Location(); err == nil {
		to = u.Host + u.Path // a query may hold a key
	}
	p.timed("path", judgeGet(res.StatusCode, html, to, hasUser), start)
	date, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		p.add("clock", notTried("its answers carry no Date header"))
		return
	}
	p.add("clock", judgeClock(date.Add(time.Second/2).Sub(start), time.Second+took, true))
}

// post sends two test events: a small one, and one that fills a request to the configured limit.
func (p *part) post(ctx context.Context, cfg publisher.Config) {
	d, err := publisher.New(cfg, hclog.NewNullLogger(), publisher.NewMetrics(prometheus.NewRegistry(), cfg.Name))
	if err != nil {
		p.add("event", finding{Fail, err.Error(), "correct the LAM in the settings"})
		return
	}
	defer d.Close()
	start := time.Now()
	small := d.Publish(ctx, []alert.Event{p.exam.testEvent(0)})
	f := judgeDelivery(small)
	p.timed("event", f, start)
	if f.result == Fail {
		p.skip("the small one was not taken", "size")
		return
	}
	start = time.Now()
	most := cfg.MaxPayloadBytes - d.Overhead() - 1
	large := d.Publish(ctx, []alert.Event{p.exam.testEvent(most)})
	p.timed("size", judgeSize(large, uint64(cfg.MaxPayloadBytes)), start)
}

func judgeDelivery(d alert.Delivery) finding {
	switch d.Verdicts[0] {
	case alert.Accepted:
		return ok("it took an event marked as a test")
	case alert.Refused:
		r := d.Refusals[0]
		return finding{Fail, fmt.Sprintf("it refused a test event (HTTP %d): %s", r.Status, r.Answer), "check the token (AuthTokenCode), MoogUrl, and the LAM's log"}
	}
	do := "check the LAM in the settings, and its log"
	if d.Err != nil && d.Err.Do != "" {
		do = d.Err.Do // as on the page
	}
	return finding{Fail, unwrapAway(d), do}
}

func unwrapAway(d alert.Delivery) string {
	if d.Err == nil || d.Err.Err == nil {
		return "it took nothing"
	}
	return d.Err.Err.Error()
}

func judgeSize(d alert.Delivery, most uint64) finding {
	if d.Verdicts[0] == alert.Accepted {
		return ok("it takes requests of %s (MaxPayloadSizeInMB)", bytesWord(most))
	}
	status := 0
	if len(d.Refusals) > 0 {
		status = d.Refusals[0].Status
	}
	seen := fmt.Sprintf("it does not take a request of %s", bytesWord(most))
	if status != 0 {
		seen += fmt.Sprintf(" (HTTP %d)", status)
	} else if d.Err != nil {
		seen += ": " + unwrapAway(d)
	}
	return finding{Warning, seen, "lower MaxPayloadSizeInMB, or raise the limit in front of the LAM (nginx: client_max_body_size); until then batches are halved"}
}

// testEvent is one of our own, that clears nothing and says what it is. size, if not 0, is its length in bytes.
func (e *exam) testEvent(size int) alert.Event {
	signature := "scomconnector::" + e.node.NodeID + "::doctor-test"
	event := map[string]any{
		"signature": signature, "external_id": signature, "source": e.node.NodeID, "source_id": e.node.NodeID, "manager": "SCOM", "agent": "scomconnector",
		"agent_location": "doctor", "class": "connector", "type": "connector", "severity": 0, "agent_time": time.Now().Unix(),
		"description": "Test by scomconnector doctor on " + e.node.NodeID + ": nothing has happened, nothing is to be done.",
		"custom_info": map[string]any{"test": true, "padding": ""},
	}
	body := mustJSON(event)
	if fill := size - len(body); fill > 0 {
		event["custom_info"] = map[string]any{"test": true, "padding": strings.Repeat("x", fill)}
		body = mustJSON(event)
	}
	return alert.Event{Kind: "doctor-test", Body: body}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data of ours
	}
	return b
}
