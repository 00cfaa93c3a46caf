package raftnode

import (
	"context"
	"sync"
)

// leadership is what raft says about it, kept so that raft never waits for us: it blocks while its
// notification is not read, and whoever calls raft from the reading goroutine then waits for himself.
type leadership struct {
	mu      sync.Mutex // guards all but changed
	ctx     context.Context
	cancel  context.CancelFunc
	inst    *instance
	lost    uint64
	changed chan struct{} // one slot
}

// watch reads the notifications of one raft instance until it has ended. It is the only reader.
func (l *leadership) watch(i *instance) {
	defer close(i.watched)
	for {
		select {
		case leads := <-i.notify:
			l.set(i, leads)
		case <-i.done:
			l.end()
			return
		}
	}
}

// set ends what was, also when leadership was lost and won again in between, and begins what is.
func (l *leadership) set(i *instance, leads bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked()
	if leads {
		l.ctx, l.cancel = context.WithCancel(context.Background())
		l.inst = i
	}
	signal(l.changed)
}

func (l *leadership) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked()
}

func (l *leadership) endLocked() {
	if l.ctx == nil {
		return
	}
	l.cancel()
	l.ctx, l.cancel, l.inst = nil, nil, nil
	l.lost++
}

// now is the context of the present leadership, and the instance that has it; nil without.
func (l *leadership) now() (context.Context, *instance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ctx, l.inst
}

func (l *leadership) losses() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}
