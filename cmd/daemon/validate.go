package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"scomconnector/api"
	"scomconnector/cluster"
	"scomconnector/cmd/settings"
)

// opinion is what a node finds wrong with a text of the settings, line by line; nothing: it could use it.
type opinion struct {
	Faults []string `json:"faults"`
}

// judge reads the text as this node would if it led: on Primary and Secondary also what it points to there, secrets and
// certificates. A witness has none of these.
func (n *node) judge(text []byte) opinion {
	cfg, faults := settings.ParseCluster(settings.ClusterFileName, text, settings.Options{Dir: n.opts.Node.Dir})
	if len(faults) == 0 && n.opts.Node.Role != cluster.Witness {
		faults = cfg.Examine(settings.ClusterFileName)
	}
	if err := faults.Err(); err != nil {
		return opinion{Faults: strings.Split(err.Error(), "\n")}
	}
	return opinion{}
}

// agreeTime bounds what the other members may take to read the settings: an operator waits.
const agreeTime = 3 * time.Second

// agreed asks every member in contact whether it could use the text, and refuses it with all that any of them finds. It returns
// the members that could not be asked: the text is used all the same, since a machine that is away must not keep the others from
// being mended.
func (n *node) agreed(ctx context.Context, text []byte) (unchecked []string, err error) {
	if own := n.judge(text); len(own.Faults) > 0 { // mostly the same for all: once is enough
		return nil, fmt.Errorf("%w:\n%s", api.ErrInvalid, strings.Join(own.Faults, "\n"))
	}
	ctx, cancel := context.WithTimeout(ctx, agreeTime)
	defer cancel()
	v := n.coord.View()
	opinions, faults := make([]opinion, len(v.Members)), make([]error, len(v.Members))
	var wg sync.WaitGroup
	for i, m := range v.Members {
		switch {
		case m.NodeID == v.NodeID:
		case !present(m):
			faults[i] = errors.New("out of contact")
		default:
			wg.Go(func() {
				opinions[i], faults[i] = ask[opinion](ctx, n, m.NodeID, question{Ask: askSettings, Settings: text})
			})
		}
	}
	wg.Wait()
	var lines []string
	for i, m := range v.Members {
		if faults[i] != nil {
			unchecked = append(unchecked, m.NodeID)
			n.log.Warn("a member did not check the new settings", "member", m.NodeID, "reason", faults[i])
		}
		for _, f := range opinions[i].Faults {
			lines = append(lines, "on "+m.NodeID+": "+f)
		}
	}
	if len(lines) > 0 {
		return nil, fmt.Errorf("%w:\n%s", api.ErrInvalid, strings.Join(lines, "\n"))
	}
	return unchecked, nil
}
