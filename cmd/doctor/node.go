package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"scomconnector/api/client"
	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/cluster/port"
	"scomconnector/cmd/settings"
	"scomconnector/poller/scom"
)

// running is what the running node of this machine says; nil: it does not answer.
type running struct{ status v1.Status }

func (r *running) answers() bool { return r != nil }

// leftAlone is why the cluster makes no log-on at SCOM now, "" if it would.
func (r *running) leftAlone() string {
	if r == nil {
		return ""
	}
	for _, c := range r.status.SCOM {
		if strings.Contains(c.LastError, scom.LeftAlone) && c.State == "failing" {
			return c.LastError
		}
	}
	if v := r.status.Verdict; v.Level != v1.OK && strings.Contains(v.Text, scom.LeftAlone) {
		return v.Text
	}
	return ""
}

// lateness is what the node has measured, or why it has not.
func (r *running) lateness() (late time.Duration, known bool, why string) {
	switch {
	case r == nil:
		return 0, false, "only a node that polls can measure it, and none runs here"
	case r.status.Leader != r.status.Node:
		return 0, false, "only the node that leads measures it: " + orNobody(r.status.Leader)
	case len(r.status.Pipelines) == 0:
		return 0, false, "the node has not polled yet"
	}
	for _, p := range r.status.Pipelines {
		late = max(late, time.Duration(p.LatenessSeconds*float64(time.Second)))
	}
	return late, true, ""
}

func orNobody(node string) string {
	if node == "" {
		return "nobody does"
	}
	return node + " does"
}

// askNode asks the node of this machine for its status.
func (e *exam) askNode(ctx context.Context, p *part) *running {
	base, token := e.opt.URL, e.opt.Token
	if base == "" {
		base = e.node.OwnURL()
	}
	if token == "" && e.node.Auth.ReadTokenFile != "" {
		token, _ = settings.ReadToken(e.node.Auth.ReadTokenFile) // the node says what it asks for
	}
	c := client.New(base, token)
	c.HTTP.Transport = e.node.OwnTransport()
	s, err := c.Status(ctx)
	refusal, is := errors.AsType[*client.Error](err)
	switch {
	case is && refusal.Code == http.StatusUnauthorized:
		p.add("status", finding{Warning, base + " asks for a token: what only the cluster knows was not asked", "--token-file FILE gives the content of ReadTokenFile"})
		return nil
	case err != nil:
		p.add("status", notTried("no node runs here (%v): what only the cluster knows was not asked", err))
		return nil
	}
	if s.Node != e.node.NodeID {
		p.add("status", finding{Warning, fmt.Sprintf("%s is the node %s, not %s", base, s.Node, e.node.NodeID), "name this node's own address with --url"})
		return nil
	}
	p.add("status", judgeVerdict(s))
	e.inUse(ctx, c, p, s.Config.DiffersFromFile)
	return &running{status: s}
}

func judgeVerdict(s v1.Status) finding {
	f := finding{OK, "it runs: " + s.Verdict.Text, s.Verdict.Do}
	switch s.Verdict.Level {
	case v1.Stopped:
		f.result = Fail
	case v1.Degraded:
		f.result = Warning
	}
	return f
}

// peer looks at another member: by the status of the node that runs here, and from this machine.
func (p *part) peer(ctx context.Context, m cluster.Member) {
	p.doing("connection")
	p.add("cluster", p.exam.live.member(m.NodeID))
	host, _, err := net.SplitHostPort(m.ClusterAddress)
	if err != nil || !p.name(ctx, "name", host) {
		p.skip("the name does not resolve", "tcp", "tls")
	} else if conn := p.dial(ctx, "tcp", m.ClusterAddress, ""); conn == nil {
		p.absent(m.ClusterAddress)
		p.skip("there is no connection", "tls")
	} else {
		p.peerTLS(ctx, conn, m)
		conn.Close()
	}
	p.page(ctx, m)
}

// absent makes less of the last hop, a connection that a peer did not take, while no node runs here: a cluster is set up one machine
// after the other, so that the first one finds nobody.
func (p *part) absent(address string) {
	if p.exam.live.answers() {
		return
	}
	h := &p.hops[len(p.hops)-1]
	h.Result, h.Do = Warning, "nothing, if that node does not run yet; else start it"
	if _, port, err := net.SplitHostPort(address); err == nil {
		h.Do = fmt.Sprintf("it does not run yet, or port %s is closed: look again when it runs", port)
	}
}

// member is what the running node says about another one.
func (r *running) member(id string) finding {
	if r == nil {
		return notTried("only a running node knows, and none answers here")
	}
	for _, m := range r.status.Members {
		switch {
		case m.Node != id:
		case m.Fault != "":
			return finding{Fail, "out of contact: " + m.Fault, "start it, or mend the network between the nodes"}
		case m.Part == v1.PartWithout:
			return finding{Warning, "in contact, and cannot use the etcd", "run doctor there"}
		case !m.Voter:
			return finding{Warning, "in contact, and has no vote yet", "wait until it has caught up; if that lasts, look at its log"}
		default:
			return ok("in contact %v ago, version %s", r.status.Time.Sub(m.LastContact).Round(time.Second), m.Version)
		}
	}
	return finding{Warning, "the cluster does not know it", "Members must be the same in every node.json; restart one node after the other, the leader last"}
}

// peerTLS shows that both sides trust each other's certificate, without a word of the nodes' own talk.
func (p *part) peerTLS(ctx context.Context, conn net.Conn, m cluster.Member) {
	files := p.exam.node.ClusterTls
	if files.CertFile == "" {
		p.add("tls", notTried("the settings name no ClusterTls: good on one machine only"))
		return
	}
	conf, err := port.FileTLS(files.CertFile, files.KeyFile, files.CaFile).Client()
	if err != nil {
		p.add("tls", finding{Fail, err.Error(), "correct ClusterTls in node.json"})
		return
	}
	p.handshake(ctx, conn, route{target: &url.URL{Scheme: "https", Host: m.NodeID}, tls: conf})
}

// page asks the member's own address whether it is alive; the moobots may call it.
func (p *part) page(ctx context.Context, m cluster.Member) {
	if m.Url == "" {
		p.add("page", notTried("Members names no Url"))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(m.Url, "/")+"/healthz", nil)
	if err != nil {
		p.add("page", finding{Fail, err.Error(), "correct its Url in Members"})
		return
	}
	start := time.Now()
	res, err := tr.RoundTrip(req)
	if err != nil {
		p.add("page", judgePage(m.Url, err))
		if op, is := errors.AsType[*net.OpError](err); is && op.Op == "dial" {
			p.absent(req.URL.Host)
		}
		return
	}
	res.Body.Close()
	if res.StatusCode == http.StatusServiceUnavailable {
		p.add("page", finding{Warning, m.Url + " answers that it cannot do its part now", "its page and its log say why"})
		return
	}
	if res.StatusCode != http.StatusOK {
		p.add("page", finding{Fail, fmt.Sprintf("%s/healthz answers HTTP %d", m.Url, res.StatusCode), "look what listens there"})
		return
	}
	p.timed("page", ok("%s answers", m.Url), start)
}

func judgePage(at string, err error) finding {
	if _, is := errors.AsType[x509.UnknownAuthorityError](err); is {
		return finding{Warning, at + " answers, with a certificate that this machine does not trust", "moobots that check certificates must trust it"}
	}
	return judgeDial(at, err)
}
