package daemon

import (
	"sync"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/poller"
)

// flowWindow is what the rates on the page are taken over: long enough to be steady with polls every few seconds, short enough
// to show that something has stopped.
const (
	flowWindow = time.Minute
	// leastWindow keeps the first second of a term, in which a backlog goes out, from looking like the rate of an hour.
	leastWindow = 15 * time.Second
)

// flows remembers what the running pipelines had counted during the last minute. The zero value is ready.
type flows struct {
	mu   sync.Mutex // guards past
	past map[string][]flowSample
}

type flowSample struct {
	at   time.Time // keeps its monotonic reading
	flow poller.Flow
}

// note takes a sample of all that run; those that do not run any more are forgotten.
func (f *flows) note(now time.Time, running []poller.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	past := f.past
	f.past = make(map[string][]flowSample, len(running))
	for _, p := range running {
		samples := past[p.Name]
		if n := len(samples); n > 0 && samples[n-1].flow.Polls > p.Flow.Polls {
			samples = nil // another term has begun
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

// of is the pipeline's flow with its rates. A term that is younger than the window has those of its own time.
func (f *flows) of(now time.Time, p poller.Status) v1.Flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := flowSample{at: now, flow: p.Flow}
	if samples := within(now, f.past[p.Name]); len(samples) > 0 && samples[0].flow.Polls <= p.Flow.Polls {
		old = samples[0]
	}
	minutes := max(now.Sub(old.at), leastWindow).Minutes()
	step := func(count, before uint64) v1.Step {
		s := v1.Step{Count: count}
		if count > before {
			s.PerMinute = float64(count-before) / minutes
		}
		return s
	}
	return v1.Flow{
		Polls: step(p.Flow.Polls, old.flow.Polls), Read: step(p.Flow.Read, old.flow.Read), Sent: step(p.Flow.Posted, old.flow.Posted),
		Accepted: step(p.Flow.Accepted, old.flow.Accepted), Waiting: p.Undelivered,
	}
}
