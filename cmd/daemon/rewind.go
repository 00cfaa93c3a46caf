package daemon

import (
	"context"
	"time"

	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
)

// rewind has a pipeline deliver again what SCOM shows from a time on; it works through any node, and returns once this one knows of it.
// A time after the cursor forgets what was sent since, and leaves the cursor where it is. The leader's pipelines finish what is in
// flight, which counts as sent before, and begin anew: see footing.
func (n *node) rewind(ctx context.Context, pipeline string, to time.Time, author string) error {
	before, _ := n.state().Pipeline(pipeline)
	res, err := n.coord.Propose(ctx, state.Rewind{Pipeline: pipeline, To: alert.MillisOf(to), Author: author, At: time.Now().UTC()})
	if err := proposed(res, err); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	n.await(ctx, func() bool {
		p, known := n.state().Pipeline(pipeline)
		return !known || p.Rewinds > before.Rewinds
	})
	return nil
}
