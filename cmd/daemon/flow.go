package daemon

import (
	"sync"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/poller"
)

const (
	// flowWindow is what the rates on the page are taken over: long enough to be steady with polls every few seconds, short enough
	// to show that something has stopped.
	flowWindow = time.Minute
	// leastWindow is how long pipelines must run for a rate: the first second, in which a backlog goes out, says nothing of an hour.
	leastWindow = 15 * time.Second
)

// flows remembers what the running pipelines had counted during the last minute.
type flows struct {
	mu    sync.Mutex // guards what follows
	past  map[string][]flowSample
	began time.Time // when these pipelines did, with nothing counted
}

type flowSample struct {
	at   time.Time // keeps its monotonic reading
	flow poller.Flow
}

// begin forgets what was counted: other pipelines run from now on.
func (f *flows) begin(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.past, f.began = nil, now
}

// note takes a sample of all that run; those that do not run any more are forgotten.
func (f *flows) note(now time.Time, running []poller.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	past := f.past
	f.past = make(map[string][]flowSample, len(running))
	for _, p := range running {
		samples := past[p.Name]
		if len(samples) == 0 { // a sample of a batch half delivered would give its steps rates that do not belong together
			samples = []flowSample{{at: f.began}}
		}
		f.past[p.Name] = append(within(now, samples), flowSample{now, p.Flow})
	}
}

// within leaves away what is older than the window, but for the last of it: that is where the window begins.
func within(now time.Time, samples []flowSample) []flowSample {
	for len(samples) > 1 && now.Sub(samples[1].at) >= flowWindow {
		samples = samples[1:]
	}
	return samples
}

// of is the pipeline's flow with its rates. Pipelines that are younger than the window have those of their own time, and very young
// ones none.
func (f *flows) of(now time.Time, p poller.Status) v1.Flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := flowSample{at: f.began}
	if samples := within(now, f.past[p.Name]); len(samples) > 0 {
		old = samples[0]
	}
	passed := now.Sub(old.at)
	known := passed >= leastWindow
	step := func(count, before uint64) v1.Step {
		s := v1.Step{Count: count}
		if known && count > before {
			s.PerMinute = float64(count-before) / passed.Minutes()
		}
		return s
	}
	return v1.Flow{
		Polls: step(p.Flow.Polls, old.flow.Polls), Read: step(p.Flow.Read, old.flow.Read), Sent: step(p.Flow.Posted, old.flow.Posted),
		Accepted: step(p.Flow.Accepted, old.flow.Accepted), Waiting: p.Undelivered, Since: f.began.UTC(), RatesKnown: known,
	}
}
