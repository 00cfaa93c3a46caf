package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// mayTakeOver is what this node makes sure of before it takes over by itself: that it can do some of the work, and that the
// others answer on no other way; see raftnode.Config.
func (n *node) mayTakeOver(ctx context.Context) error {
	if !n.awaitUp(ctx) {
		return errors.New("this node has not started yet")
	}
	if n.state().InMaintenance(n.opts.Node.NodeID) {
		return errors.New("this node is in maintenance")
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var alive error
	var others sync.WaitGroup
	others.Go(func() { alive = n.othersAnswer(ctx) })
	able := n.ability(ctx)
	others.Wait()
	switch {
	case alive != nil:
		return alive
	case !able.any():
		return errors.New(able.lacks())
	}
	return nil
}

// othersAnswer is an error that names a member whose API answers, whatever it says: its machine lives, and so may its leadership.
func (n *node) othersAnswer(ctx context.Context) error {
	for _, m := range n.opts.Node.Members {
		if m.NodeID == n.opts.Node.NodeID || m.Url == "" {
			continue
		}
		if _, lives := n.visit(ctx, m.Url+"/healthz"); lives {
			return fmt.Errorf("%s answers at %s: mend the network between the ClusterAddress of the nodes, or stop that node", m.NodeID, m.Url)
		}
	}
	return nil
}

// visitTime bounds a look at another node's API.
const visitTime = 3 * time.Second

// visit asks another node's API and reports the status of its answer, and whether there was any: a server that refuses our
// certificate, or whose own we do not know, is there all the same. Nothing secret is sent, so that nothing need be verified.
func (n *node) visit(ctx context.Context, url string) (code int, lives bool) {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	dial := n.opts.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	transport := &http.Transport{
		DialContext: dial, DisableKeepAlives: true, ResponseHeaderTimeout: visitTime,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, // it is asked whether it lives, and told nothing
	}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, false
	}
	res, err := client.Do(req)
	if err != nil {
		_, alert := errors.AsType[tls.AlertError](err)
		_, record := errors.AsType[tls.RecordHeaderError](err)
		var remote *net.OpError
		return 0, alert || record || errors.As(err, &remote) && remote.Op == "remote error"
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 4<<10)) // whatever it says
	return res.StatusCode, true
}
