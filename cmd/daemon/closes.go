package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"scomconnector/api"
	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/cmd/settings"
	"scomconnector/poller/alert"
)

const (
	// mostListed bounds what is shown of the outbox, and mostSettled of what has left it.
	mostListed  = 1000
	mostSettled = 100
)

// closer takes close requests on any node, a witness and one in maintenance too. It is an api.Submitter.
type closer struct{ *node }

// Submit implements api.Submitter. Its outcome may be unknown to raft; since a request is known by its id, proposing it again then
// adds nothing.
func (c closer) Submit(ctx context.Context, r api.CloseRequest) (string, error) {
	id, err := alert.ParseID(r.Alert)
	if err != nil {
		return "", fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	cfg, err := c.inUse()
	if err != nil {
		return "", fmt.Errorf("%w: %w", api.ErrNoLeader, err)
	}
	if cfg.CloseUnknownIds == "refuse" && !c.everSent(id) {
		return "", fmt.Errorf("alert %s: %w", r.Alert, api.ErrUnknownAlert)
	}
	op := state.Accept{
		Request: state.Request{
			ID: newRequestID(), Key: r.Key, Alert: id, State: r.State, Keep: r.Keep, Comment: r.Comment, Fields: fieldsOf(r.Fields),
			From: r.From, Node: c.opts.Node.NodeID, At: time.Now().UTC(),
		},
		MaxEntries: cfg.OutboxMaxEntries, MaxBytes: cfg.OutboxMaxMB << 20,
	}
	for {
		res, err := c.coord.Propose(ctx, op)
		if errors.Is(err, cluster.ErrUnknownOutcome) && ctx.Err() == nil {
			continue
		}
		if errors.Is(res.Err, state.ErrOutboxFull) {
			return "", api.ErrOutboxFull
		}
		if err := proposed(res, err); err != nil {
			return "", c.unaccepted(err, op.Request.At)
		}
		return res.ID, nil
	}
}

// unaccepted is err in words that a moobot may log: why nobody leads, or how long there was no answer.
func (c closer) unaccepted(err error, since time.Time) error {
	waited := time.Since(since).Round(time.Second)
	switch v := c.coord.View(); {
	case errors.Is(err, api.ErrNoLeader) && v.Leader == "":
		why, _ := leaderless(v)
		return fmt.Errorf("%w: %s; waited %v for one", api.ErrNoLeader, why, waited)
	case errors.Is(err, api.ErrUnknownOutcome) && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: no answer within %v", api.ErrUnknownOutcome, waited)
	}
	return err
}

func newRequestID() string {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return hex.EncodeToString(b[:])
}

func fieldsOf(m map[string]string) []state.Field {
	var out []state.Field
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, state.Field{Name: name, Value: m[name]})
	}
	return out
}

// inUse is the settings in use.
func (n *node) inUse() (*settings.Cluster, error) {
	for {
		v := n.state().Config().Version
		if v == 0 {
			return nil, errors.New("this cluster has no settings yet")
		}
		cfg, err := n.settingsOf(v)
		if err == nil || n.state().Config().Version == v {
			return cfg, err
		}
	}
}

// everSent reports whether a pipeline remembers the alert.
func (n *node) everSent(id alert.ID) bool {
	for _, p := range n.state().Pipelines() {
		if _, known := n.state().Sent(p.Name, id); known {
			return true
		}
	}
	return false
}

// Await implements api.Submitter.
func (c closer) Await(ctx context.Context, id string) (v1.CloseVerdict, bool) {
	for {
		changed := c.state().OutboxChanged()
		if _, waits := c.state().Request(id); !waits {
			if e, ended := c.state().Settled(id); ended {
				return v1.CloseVerdict{Status: statusOf(e.Outcome), Reason: e.Reason, At: e.At}, true
			}
		}
		select {
		case <-ctx.Done():
			return v1.CloseVerdict{}, false
		case <-changed:
		}
	}
}

func statusOf(o state.Outcome) string {
	switch o {
	case state.Done:
		return "closed"
	case state.Already:
		return "already_closed"
	}
	return "refused"
}

// endOf is what became of a request, in terms of what it asked for.
func endOf(state int, o state.Outcome) string {
	word := statusOf(o)
	if state == int(alert.StateClosed) {
		return word
	}
	return strings.Replace(word, "closed", "done", 1)
}

// Rules implements api.Submitter.
func (c closer) Rules() (api.CloseRules, bool) {
	cfg, err := c.inUse()
	if err != nil {
		return api.CloseRules{}, false
	}
	return api.CloseRules{Actions: cfg.CallbackActions, Wait: cfg.CloseWaitSeconds}, true
}

// Outbox implements api.Submitter.
func (c closer) Outbox() v1.OutboxList { return c.outbox(mostListed, mostSettled) }

func (c closer) outbox(most, settled int) v1.OutboxList {
	st := c.state()
	list := v1.OutboxList{Entries: []v1.OutboxEntry{}, Settled: []v1.SettledEntry{}}
	list.Pending, _, list.Oldest = st.OutboxInfo()
	waiting := st.Outbox(most)
	stands, fault := c.stands(waiting)
	list.Error = fault
	for i, r := range waiting {
		e := outboxEntry(r)
		e.Stands = stands(i)
		list.Entries = append(list.Entries, e)
	}
	for _, s := range st.SettledList(settled) {
		e := outboxEntry(s.Request)
		list.Settled = append(list.Settled, v1.SettledEntry{
			ID: e.ID, Alert: e.Alert, State: e.State, Fields: e.Fields, From: e.From, Status: endOf(e.State, s.Outcome), Reason: s.Reason, Asked: e.At, At: s.At,
		})
	}
	return list
}

// stands says where each of the waiting requests stands. Only the leader knows.
func (n *node) stands(waiting []state.Request) (of func(i int) string, fault string) {
	n.mu.Lock()
	back := n.closing
	n.mu.Unlock()
	if back == nil {
		leader := cmp.Or(n.coord.View().Leader, "a leader")
		if leader == n.opts.Node.NodeID {
			leader = "its writeback"
		}
		return func(int) string { return "waiting for " + leader }, ""
	}
	texts, s := back.Stands(closesOf(waiting)), back.Status()
	return func(i int) string { return texts[i] }, cmp.Or(s.Blocked, s.Error)
}

func outboxEntry(r state.Request) v1.OutboxEntry {
	e := v1.OutboxEntry{
		ID: r.ID, Alert: r.Alert.String(), State: int(r.State), Comment: r.Comment, From: r.From, Node: r.Node, At: r.At,
	}
	if r.Keep {
		e.State = -1
	}
	if len(r.Fields) > 0 {
		e.Fields = map[string]string{}
		for _, f := range r.Fields {
			e.Fields[f.Name] = f.Value
		}
	}
	return e
}

// ParkedRequests implements api.Submitter.
func (c closer) ParkedRequests() []v1.ParkedRequest {
	out := []v1.ParkedRequest{}
	for _, p := range c.state().ParkedRequests() {
		e := outboxEntry(p.Request)
		e.Stands = "refused by SCOM"
		out = append(out, v1.ParkedRequest{OutboxEntry: e, Reason: p.Reason, ParkedAt: p.At})
	}
	return out
}

// Retry implements api.Submitter.
func (c closer) Retry(ctx context.Context, id string) error {
	cfg, err := c.inUse()
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrNoLeader, err)
	}
	return c.unpark(ctx, id, state.Retry{IDs: []string{id}, MaxEntries: cfg.OutboxMaxEntries, MaxBytes: cfg.OutboxMaxMB << 20})
}

// Discard implements api.Submitter.
func (c closer) Discard(ctx context.Context, id string) error {
	return c.unpark(ctx, id, state.Discard{IDs: []string{id}})
}

// unpark takes a parked request off the shelf, and returns once this node knows of it.
func (c closer) unpark(ctx context.Context, id string, op state.Op) error {
	changed := c.state().OutboxChanged()
	res, err := c.coord.Propose(ctx, op)
	if errors.Is(res.Err, state.ErrOutboxFull) {
		return api.ErrOutboxFull
	}
	if err := proposed(res, err); err != nil {
		return fmt.Errorf("parked request %s: %w", id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	select {
	case <-changed:
	case <-ctx.Done(): // it is done all the same
	}
	return nil
}
