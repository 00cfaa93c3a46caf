package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"scomconnector/api"
	v1 "scomconnector/api/v1"
	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
)

// rewindReach is how far back a cursor may be put: SCOM's default grooming takes resolved alerts away after seven days, so that
// there is nothing to read before; InitialLookback ends there, too.
const rewindReach = 168 * time.Hour

// desk shows the cursors, and puts them back. It is an api.Cursors.
type desk struct{ *node }

// List implements api.Cursors.
func (d desk) List(to time.Time) []v1.Cursor {
	now := time.Now()
	var all []v1.Cursor
	for _, p := range d.wanted() {
		c := v1.Cursor{Pipeline: p.Name, Cursor: p.Cursor.Time(), Earliest: earliest(now), Rewinds: p.Rewinds, Remembered: p.Remembered}
		if !to.IsZero() {
			c.Again = d.state().DeliveredSince(p.Name, alert.MillisOf(to))
		}
		all = append(all, c)
	}
	return all
}

func earliest(now time.Time) time.Time { return now.Add(-rewindReach).UTC().Truncate(time.Second) }

// wanted are the pipelines that the settings want: others are kept for a while and do nothing.
func (d desk) wanted() []state.PipelineInfo {
	var all []state.PipelineInfo
	for _, p := range d.state().Pipelines() {
		if p.RemovedAt.IsZero() {
			all = append(all, p)
		}
	}
	return all
}

// Rewind implements api.Cursors.
func (d desk) Rewind(ctx context.Context, o v1.RewindOrder, by string) (v1.Rewound, error) {
	p, err := d.named(o.Pipeline)
	if err != nil {
		return v1.Rewound{}, err
	}
	now := time.Now()
	if err := (v1.Cursor{Earliest: earliest(now)}).Accepts(o.To, now); err != nil {
		return v1.Rewound{}, fmt.Errorf("%w: %w", api.ErrRewind, err)
	}
	if !p.Started {
		return v1.Rewound{}, fmt.Errorf("%w: %s has not read all open alerts yet; what it has not sent it will send", api.ErrRewind, p.Name)
	}
	back := v1.Rewound{Pipeline: p.Name, From: p.Cursor.Time(), To: o.To.UTC(), Again: d.state().DeliveredSince(p.Name, alert.MillisOf(o.To))}
	return back, d.rewind(ctx, p.Name, o.To, by)
}

// named is the pipeline of that name; empty: the only one there is.
func (d desk) named(name string) (state.PipelineInfo, error) {
	var names []string
	all := d.wanted()
	for _, p := range all {
		if p.Name == name || name == "" && len(all) == 1 {
			return p, nil
		}
		names = append(names, p.Name)
	}
	known := "there is none yet"
	if len(names) > 0 {
		known = "there are " + strings.Join(names, ", ")
	}
	if name == "" && len(all) > 0 {
		return state.PipelineInfo{}, fmt.Errorf("%w: name the pipeline: %s", api.ErrRewind, known)
	}
	return state.PipelineInfo{}, fmt.Errorf("no pipeline is called %.200q, %s: %w", name, known, api.ErrNotFound)
}
