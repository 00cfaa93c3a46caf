package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"scomconnector/api"
	v1 "scomconnector/api/v1"
	"scomconnector/poller"
	"scomconnector/poller/alert"
)

// A parked event is sent again by the leader's pipeline, whichever node was asked. A LAM may take its time, and questions between nodes
// must not: so the leader is asked to begin, and then, again and again, how far it is.

const (
	// resendTime bounds a job: a LAM's answer deadline, and the batch under way before it.
	resendTime = 40 * time.Second
	// resendLook is how often the leader is asked.
	resendLook = 100 * time.Millisecond
	// resendPatience is how long a new leader may take to have its pipelines running.
	resendPatience = 5 * time.Second
	// keepResend is how long the leader remembers a job that has ended and whose outcome nobody has asked for.
	keepResend = time.Minute
)

// resendJob is one parked event that this node, which leads, sends again.
type resendJob struct {
	done   bool
	answer resendAnswer
	began  time.Time
}

// resendAnswer is how far a job is. Fault is one of resendFaults.
type resendAnswer struct {
	Pending bool   `json:"pending,omitempty"`
	Status  string `json:"status,omitempty"` // of v1.ParkedRetried
	Fault   string `json:"fault,omitempty"`
	Text    string `json:"text,omitempty"`
}

// resendFaults are what keeps an event from being sent, by their names between nodes.
var resendFaults = map[string]error{
	faultNotParked: api.ErrNotFound, faultNoEvent: api.ErrNoEvent, faultAway: api.ErrAway, faultRefused: api.ErrRefusedAgain,
	faultNoPipeline: api.ErrAway, faultUnknown: api.ErrUnknownOutcome,
}

const (
	faultNotParked  = "not parked"
	faultNoEvent    = "no event"
	faultAway       = "away"
	faultRefused    = "refused"
	faultNoPipeline = "no pipeline"
	faultUnknown    = "unknown"
	faultTermOver   = "term over" // whoever leads next is asked
)

// resends are the jobs of a leader, by the id that the asking node has given each.
type resends struct {
	mu   sync.Mutex // guards jobs
	jobs map[string]*resendJob
	wg   sync.WaitGroup // of the jobs' goroutines
}

// resend begins a job, or says how far the one of this id is.
func (n *node) resend(id, pipeline string, key alert.ID) resendAnswer {
	r := &n.resends
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, j := range r.jobs {
		if j.done && time.Since(j.began) > keepResend+resendTime {
			delete(r.jobs, id)
		}
	}
	if j := r.jobs[id]; j != nil {
		if !j.done {
			return resendAnswer{Pending: true}
		}
		delete(r.jobs, id)
		return j.answer
	}
	p := n.pipelineNamed(pipeline, func() { r.wg.Add(1) })
	if p == nil {
		return resendAnswer{Fault: faultNoPipeline, Text: n.opts.Node.NodeID + " leads, and runs no pipeline of this name"}
	}
	j := &resendJob{began: time.Now()}
	if r.jobs == nil {
		r.jobs = map[string]*resendJob{}
	}
	r.jobs[id] = j
	go func() {
		defer r.wg.Done()
		ctx, cancel := context.WithTimeout(context.Background(), resendTime)
		defer cancel()
		a := resendAnswerOf(p.Resend(ctx, key))
		r.mu.Lock()
		defer r.mu.Unlock()
		j.done, j.answer = true, a
	}()
	return resendAnswer{Pending: true}
}

// pipelineNamed is the running pipeline of this name; found is called while it cannot yet have been given up.
func (n *node) pipelineNamed(name string, found func()) *poller.Pipeline {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.running, func(p *poller.Pipeline) bool { return p.Status().Name == name })
	if i < 0 {
		return nil
	}
	found()
	return n.running[i]
}

func resendAnswerOf(r poller.Resent, err error) resendAnswer {
	fault := func(name string) resendAnswer { return resendAnswer{Fault: name, Text: err.Error()} }
	switch {
	case errors.Is(err, poller.ErrNotParked):
		return fault(faultNotParked)
	case errors.Is(err, poller.ErrNoEvent):
		return fault(faultNoEvent)
	case errors.Is(err, poller.ErrAway):
		return fault(faultAway)
	case errors.Is(err, context.DeadlineExceeded):
		return fault(faultUnknown)
	case err != nil:
		return fault(faultTermOver)
	case r.Outcome == poller.StillRefused:
		return resendAnswer{Fault: faultRefused, Text: fmt.Sprintf("LAM %s answers %d: %s", r.LAM, r.Status, r.Answer)}
	case r.Outcome == poller.Overtaken:
		return resendAnswer{Status: v1.RetryOvertaken}
	}
	return resendAnswer{Status: v1.RetryDelivered}
}

// Resend implements api.Parked. A leader that is lost meanwhile may have sent it: its successor sends it again if it is still parked,
// as any other event of a batch in flight.
func (s shelf) Resend(ctx context.Context, pipeline, key string) (v1.ParkedRetried, error) {
	entry, err := s.Entry(pipeline, key)
	if err != nil {
		return v1.ParkedRetried{}, err
	}
	q := question{Ask: askResend, ID: newRequestID(), Pipeline: pipeline, Key: entry.Entry.Key}
	failed := func(cause error, text string) (v1.ParkedRetried, error) {
		return v1.ParkedRetried{}, fmt.Errorf("parked entry %s of pipeline %q: %w: %s", key, pipeline, cause, text)
	}
	start, begun := time.Now(), false
	for {
		a, err := s.askResend(ctx, q)
		switch {
		case a.Fault == faultNotParked && begun: // the leader before had come to its end
			a.Status = v1.RetryDelivered
		case a.Fault == faultTermOver, a.Fault == faultNoPipeline && time.Since(start) < resendPatience:
		case a.Fault != "":
			return failed(cmp.Or(resendFaults[a.Fault], api.ErrUnknownOutcome), a.Text)
		}
		if a.Status != "" {
			s.awaitGone(ctx, pipeline, q.Key)
			return v1.ParkedRetried{Status: a.Status, Entry: entry.Entry}, nil
		}
		begun = begun || a.Pending
		select {
		case <-time.After(resendLook):
			continue
		case <-ctx.Done():
		}
		if begun {
			return failed(api.ErrUnknownOutcome, "the LAM has not answered yet")
		}
		return failed(api.ErrNoLeader, cmp.Or(err, ctx.Err()).Error())
	}
}

func (s shelf) awaitGone(ctx context.Context, pipeline, key string) {
	if id, err := alert.ParseID(key); err == nil {
		s.awaitRemoved(ctx, pipeline, id)
	}
}

// askResend asks whoever leads. An error is worth another try: there may be no leader for a moment.
func (s shelf) askResend(ctx context.Context, q question) (resendAnswer, error) {
	leader := s.coord.View().Leader
	switch leader {
	case "":
		return resendAnswer{}, errors.New("no leader is known")
	case s.opts.Node.NodeID:
		return s.answerResend(q), nil
	}
	return ask[resendAnswer](ctx, s.node, leader, q)
}

// answerResend answers another node, or this one.
func (n *node) answerResend(q question) resendAnswer {
	key, err := alert.ParseID(q.Key)
	if err != nil {
		return resendAnswer{Fault: faultNotParked, Text: err.Error()}
	}
	return n.resend(q.ID, q.Pipeline, key)
}
