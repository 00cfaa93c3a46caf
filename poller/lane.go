package poller

import (
	"sync"
	"time"

	"scomconnector/poller/alert"
)

// batches is how many batches exist: one being filled, one waiting, one under way. That bounds the
// pipeline's memory, whatever the size of an answer.
const batches = 3

// batch is a number of encoded events, in buffers that are used again.
type batch struct {
	seq    uint64
	buf    []byte
	events []alert.Event // Body is set by seal: buf may move while it grows
	ends   []int         // of each event in buf
	quiet  []alert.Version
	parked []Parked
}

func (b *batch) reset(seq uint64) {
	clear(b.parked) // their payloads are not reused
	b.seq, b.buf, b.events, b.ends, b.quiet, b.parked = seq, b.buf[:0], b.events[:0], b.ends[:0], b.quiet[:0], b.parked[:0]
}

func (b *batch) empty() bool { return len(b.events)+len(b.quiet)+len(b.parked) == 0 }

// size is what the events take in a request: one comma each beside their bytes.
func (b *batch) size() int { return len(b.buf) + len(b.events) }

// push takes the bytes of buf after the last event as v's event.
func (b *batch) push(v alert.Version) {
	b.events = append(b.events, alert.Event{Version: v})
	b.ends = append(b.ends, len(b.buf))
}

func (b *batch) seal() {
	start := 0
	for i, end := range b.ends {
		b.events[i].Body = b.buf[start:end:end]
		start = end
	}
}

// end says that an answer was completely read, and how far the pipeline is once all before is delivered.
type end struct {
	position Position
	upToDate bool // the answer reached up to now
	began    time.Time
	forget   alert.Millis // what the delivered map may forget although the cursor is held; zero: nothing
}

// work is what the reader hands to the sender, in order; either part may be missing.
type work struct {
	b *batch
	e *end
}

// lane lies between reader and sender. Batches go round: free, filled, work, sent, free.
type lane struct {
	work chan work
	free chan *batch
}

func newLane() *lane {
	// work never blocks for batches, of which there are three; the rest is room for bare ends.
	l := &lane{work: make(chan work, batches+1), free: make(chan *batch, batches)}
	for range batches {
		l.free <- &batch{}
	}
	return l
}

// flight knows what was read and is not yet recorded as sent: within a term it stands before the
// ledger when rows are compared.
type flight struct {
	mu      sync.Mutex
	pending map[alert.ID]pending
	parking map[alert.ID]struct{} // keys of broken rows on their way to the ledger
	count   int
}

type pending struct {
	newest alert.Version
	oldest alert.Millis
	n      int    // versions of this id under way
	seq    uint64 // batch of the newest
}

func newFlight() *flight {
	return &flight{pending: make(map[alert.ID]pending), parking: make(map[alert.ID]struct{})}
}

// newest is the newest version of id that is under way, and in which batch.
func (f *flight) newest(id alert.ID) (v alert.Version, seq uint64, ok bool) {
	f.mu.Lock()
	p, ok := f.pending[id]
	f.mu.Unlock()
	return p.newest, p.seq, ok
}

func (f *flight) add(v alert.Version, seq uint64) {
	f.mu.Lock()
	p := f.pending[v.ID]
	if p.n == 0 {
		p.oldest = v.LastModified
	}
	p.newest, p.seq = v, seq
	p.n++
	f.count++
	f.pending[v.ID] = p
	f.mu.Unlock()
}

// landed takes away versions that the ledger has recorded.
func (f *flight) landed(vs []alert.Version) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range vs {
		p, ok := f.pending[v.ID]
		if !ok {
			continue
		}
		f.count--
		if p.n--; p.n == 0 {
			delete(f.pending, v.ID)
		} else {
			f.pending[v.ID] = p
		}
	}
}

// oldest is the lastModified of the oldest version under way, and how many there are. Versions of one
// id land in order, so that the first one's time is at worst a little too old.
func (f *flight) oldest() (alert.Millis, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var m alert.Millis
	for _, p := range f.pending {
		if m == 0 || p.oldest < m {
			m = p.oldest
		}
	}
	return m, f.count
}

// park reports whether the key is new among those under way.
func (f *flight) park(key alert.ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.parking[key]; ok {
		return false
	}
	f.parking[key] = struct{}{}
	return true
}

func (f *flight) unpark(ps []Parked) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range ps {
		delete(f.parking, p.Key)
	}
}

func (f *flight) ids() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pending)
}

// gate is shut while nothing more can be taken. Reading on would only hold a console's connection open
// or fill memory: SCOM's database is the queue.
type gate struct {
	mu   sync.Mutex
	shut bool
	open chan struct{} // closed while the gate is open
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case shut && !g.shut:
		g.open = make(chan struct{})
	case !shut && g.shut:
		close(g.open)
	}
	g.shut = shut
}

// passage is closed while the gate is open.
func (g *gate) passage() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}
