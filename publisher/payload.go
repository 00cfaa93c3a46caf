package publisher

import (
	"io"
	"net/http"
	"sync"

	"scomconnector/poller/alert"
)

// payload is one request body: the head, the chosen events of a batch with commas between, and the
// tail, read straight from where they lie. The HTTP client may go on reading after it has returned
// an answer, while the caller reuses the events' memory for the next batch; detach rules that out.
type payload struct {
	mu    sync.Mutex // guards all below, against the HTTP client's writing goroutine
	head  []byte
	batch []alert.Event
	pick  []int // indices into batch
	next  int   // position in the sequence head, event, comma, event, ..., tail
	rest  []byte
	left  int // bytes not read yet
	ended bool
	// progress is called before each piece is handed out.
	progress func()
}

// size is the length of the body that holds the picked events.
func size(head []byte, batch []alert.Event, pick []int) int {
	n := len(head) + len(tail) + len(pick) - 1
	for _, i := range pick {
		n += len(batch[i].Body)
	}
	return n
}

func newPayload(head []byte, batch []alert.Event, pick []int, progress func()) *payload {
	return &payload{head: head, batch: batch, pick: pick, rest: head, left: size(head, batch, pick), progress: progress}
}

var (
	comma = []byte{','}
	end   = []byte(tail)
)

// Read fills p as far as it can: the client writes what one Read returns at once.
func (y *payload) Read(p []byte) (int, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.ended {
		return 0, http.ErrBodyReadAfterClose
	}
	if y.left == 0 {
		return 0, io.EOF
	}
	y.progress()
	n := 0
	for n < len(p) && y.left > 0 {
		if len(y.rest) == 0 {
			y.rest = y.piece()
		}
		c := copy(p[n:], y.rest)
		y.rest = y.rest[c:]
		n += c
		y.left -= c
	}
	return n, nil
}

// piece is what follows the head: events at even steps, commas at odd ones, the tail last.
func (y *payload) piece() []byte {
	k := y.next
	y.next++
	switch {
	case k == 2*len(y.pick)-1:
		return end
	case k%2 == 1:
		return comma
	}
	return y.batch[y.pick[k/2]].Body
}

// Close is for the HTTP client.
func (y *payload) Close() error {
	y.detach()
	return nil
}

// detach ends all reading and lets go of the events; it reports whether the body had been read to its end.
func (y *payload) detach() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.ended = true
	y.batch, y.rest = nil, nil
	return y.left == 0
}
