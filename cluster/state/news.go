package state

import "sync"

// news tells any number of waiters that something has changed. The zero value is ready.
type news struct {
	mu   sync.Mutex
	next chan struct{} // closed at the next change; nil: nobody waits for it
}

func (n *news) publish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}

func (n *news) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}
