package publisher

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

var (
	errNoConnection = errors.New("no connection in time")
	errNoAnswer     = errors.New("no answer in time")
)

// watch is the deadline of one request: so long to connect, then so long without the LAM taking
// any of the body or answering. A plain deadline for all of it would fail large batches on slow
// lines; slowFactor bounds the whole all the same.
type watch struct {
	parent context.Context
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	answer time.Duration
	whole  context.CancelFunc

	connected, reused, answered atomic.Bool
}

// slowFactor times the answer's deadline is what a request may take in all.
const slowFactor = 4

func newWatch(parent context.Context, connect, answer time.Duration) *watch {
	w := &watch{parent: parent, answer: answer}
	whole, stop := context.WithTimeoutCause(parent, connect+slowFactor*answer, errNoAnswer)
	w.whole = stop
	w.ctx, w.cancel = context.WithCancelCause(whole)
	w.timer = time.AfterFunc(connect, w.expired)
	return w
}

func (w *watch) expired() {
	if w.connected.Load() {
		w.cancel(errNoAnswer)
	} else {
		w.cancel(errNoConnection)
	}
}

// progress is called before each piece of the body is sent.
func (w *watch) progress() { w.timer.Reset(w.answer) }

func (w *watch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			w.reused.Store(i.Reused)
			w.connected.Store(true)
			w.timer.Reset(w.answer)
		},
		GotFirstResponseByte: func() { w.answered.Store(true) },
	}
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
	w.whole()
}
