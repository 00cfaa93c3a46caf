package poller

import (
	"context"
	"sync"
	"time"

	"scomconnector/poller/alert"
)

// clock estimates SCOM's time between answers: the last date a console sent, plus what has passed
// here since by the monotonic clock. Positions never come from it, only plans, ages and metrics:
// an estimate must not be able to lose an alert.
type clock struct {
	mu    sync.Mutex
	date  alert.Millis // zero: no answer yet
	local time.Time    // when date was true
}

// set takes a console's date, which was true at the local time. A date is cut to the whole second, so
// that a smaller one within two seconds of the estimate is no news.
func (c *clock) set(date alert.Millis, local time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.date != 0 {
		behind := c.date.Add(local.Sub(c.local)).Sub(date)
		if behind >= 0 && behind < 2*time.Second {
			return
		}
	}
	c.date, c.local = date, local
}

// now is zero as long as no console has answered.
func (c *clock) now() alert.Millis {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.date == 0 {
		return 0
	}
	return c.date.Add(time.Since(c.local))
}

// sleep waits for d; false: ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool { return sleepOr(ctx, d, nil) }

// sleepOr is sleep that back ends early, by being closed; it may be nil.
func sleepOr(ctx context.Context, d time.Duration, back <-chan struct{}) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-back:
		return true
	case <-ctx.Done():
		return false
	}
}

// backoff is how long to wait after n earlier failures in a row: uniform between lower and
// min(upper, lower * 2^n), so that pipelines and nodes that failed together do not return together.
// What the other side itself asked for is honoured as the least, up to an hour: a longer wish is more
// likely a mistake in a proxy than a plan.
func backoff(lower, upper time.Duration, n int, random float64, asked time.Duration) time.Duration {
	top := lower
	for range n {
		if top >= upper {
			break
		}
		top *= 2
	}
	top = max(min(top, upper), lower)
	d := lower + time.Duration(random*float64(top-lower))
	return max(d, min(asked, time.Hour))
}
