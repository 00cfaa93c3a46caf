package daemon

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/cmd/settings"
)

// secondarySeedsAfter is how long the Primary has, once there is a leader, to seed the cluster with
// its own file before the Secondary offers its one: a Primary without a file must not leave the
// cluster without settings.
const secondarySeedsAfter = 10 * time.Second

// look is how often a node looks whether the replicated settings have changed: a map lookup.
const look = 200 * time.Millisecond

// seed gives the cluster its first settings from this node's file. From then on they are
// replicated and the file is only compared.
func (n *node) seed(ctx context.Context) {
	if n.opts.Node.Role == cluster.Witness || len(n.opts.ClusterText) == 0 {
		return
	}
	var led time.Time
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		v := n.coord.View()
		switch {
		case v.State.Config().Version > 0:
			n.compareFile(v.State.Config())
			return
		case v.Leader == "":
			led = time.Time{}
		case led.IsZero():
			led = time.Now()
		}
		if !led.IsZero() && (n.opts.Node.Role == cluster.Primary || time.Since(led) >= secondarySeedsAfter) {
			n.propose(ctx, state.SetConfig{Text: n.opts.ClusterText, Author: "file of " + n.opts.Node.NodeID, At: time.Now().UTC()})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// propose tries once and leaves the outcome to be seen in the state: the caller looks again.
func (n *node) propose(ctx context.Context, op state.Op) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := n.coord.Propose(ctx, op); err != nil {
		n.log.Debug("proposal did not go through, looking again", "error", err)
	}
}

func (n *node) compareFile(c state.ConfigVersion) {
	if !n.differs(c) {
		n.changes().Info("cluster-wide settings in use", "version", c.Version, "author", c.Author)
		return
	}
	n.changes().Info("the local settings file differs from the cluster's settings, which are in use",
		"file", n.opts.ClusterFile, "version", c.Version, "hint", aboutFile(n.opts.ClusterFile, c.Text))
}

// aboutFile is what to do about a file that differs.
func aboutFile(file string, inUse []byte) string {
	text := fmt.Sprintf("`scomconnector config diff %s` shows where, `config apply` puts the file into use, and undoes what was changed since; or take the settings in use over: "+
		"`scomconnector config show > FILE`, and put FILE in its place", file)
	if !bytes.Equal(settings.Masked(inUse), inUse) {
		text += " with its plain: secrets, which are not shown, written in"
	}
	return text
}

// localFile is this node's SCOMConnectorConfig.json as it was last looked at.
type localFile struct {
	text []byte
	at   time.Time // its time of change when text was read; zero: text is what the node was started with
}

func (f *localFile) is(text []byte) bool {
	return bytes.Equal(bytes.TrimSpace(f.text), bytes.TrimSpace(text))
}

// differs reports whether this node has a file and it is not the version in use. One that differs is read again when it has changed:
// it may have been applied, or the settings in use taken over into it.
func (n *node) differs(c state.ConfigVersion) bool {
	if len(n.opts.ClusterText) == 0 {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file.text == nil {
		n.file.text = n.opts.ClusterText
	}
	if c.Version == 0 || n.file.is(c.Text) {
		return false
	}
	info, err := os.Stat(n.opts.ClusterFile)
	if err == nil && info.Size() <= settings.MaxFileBytes && (!info.ModTime().Equal(n.file.at) || info.Size() != int64(len(n.file.text))) {
		if text, err := os.ReadFile(n.opts.ClusterFile); err == nil {
			n.file = localFile{text, info.ModTime()}
		}
	}
	return !n.file.is(c.Text)
}
