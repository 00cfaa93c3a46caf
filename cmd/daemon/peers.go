package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"scomconnector/cluster"
)

// What one node asks another.
const (
	askWork         = "work"         // could you deliver if you led?
	askSettings     = "settings"     // could you use this text as the settings?
	askCertificates = "certificates" // until when are your certificates good?
	askReport       = "report"       // how do you get on, as the leader?
	askResend       = "resend"       // send this parked event again, or: how far are you?
)

// question is one request between daemons, as JSON. Nodes of two versions may meet: who does not know a question says so.
type question struct {
	Ask      string `json:"ask"`
	Settings []byte `json:"settings,omitempty"`
	ID       string `json:"id,omitempty"` // of a resend: the same again asks how far it is
	Pipeline string `json:"pipeline,omitempty"`
	Key      string `json:"key,omitempty"`
}

// askTime bounds a question to another node; it is longer than what the other one may take to find out.
const askTime = 5 * time.Second

// ask puts a question to another member and reads its answer.
func ask[T any](ctx context.Context, n *node, member string, q question) (answer T, err error) {
	request, err := json.Marshal(q)
	if err != nil {
		return answer, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	body, err := n.peers.Ask(ctx, member, request)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return answer, fmt.Errorf("%s answers what this node does not understand: %w; run the same version on all nodes", member, err)
	}
	return answer, nil
}

// serveAsk answers another member; see raftnode.Config.
func (n *node) serveAsk(ctx context.Context, _ string, request []byte) ([]byte, error) {
	if !n.awaitUp(ctx) {
		return nil, fmt.Errorf("%s has not started yet", n.opts.Node.NodeID)
	}
	var q question
	if err := json.Unmarshal(request, &q); err != nil {
		return nil, fmt.Errorf("%s does not understand the request: %w; run the same version on all nodes", n.opts.Node.NodeID, err)
	}
	switch q.Ask {
	case askWork:
		return json.Marshal(n.ability(ctx))
	case askSettings:
		return json.Marshal(n.judge(q.Settings))
	case askCertificates:
		return json.Marshal(n.nearestEnd())
	case askReport:
		return json.Marshal(n.reporting())
	case askResend:
		return json.Marshal(n.answerResend(q))
	}
	return nil, fmt.Errorf("%s runs version %s, which does not know the request %q: run the same version on all nodes", n.opts.Node.NodeID, n.opts.Version, q.Ask)
}

// awaitUp waits until the node is assembled: other members may call as soon as the port is open.
func (n *node) awaitUp(ctx context.Context) bool {
	select {
	case <-n.up:
		return true
	case <-ctx.Done():
		return false
	}
}

// fresh is how long ago a member may have been heard of to be worth asking.
const fresh = 1500 * time.Millisecond

// present says whether the member is in contact at this moment.
func present(m cluster.MemberView) bool { return m.Fault == "" && time.Since(m.LastContact) < fresh }
