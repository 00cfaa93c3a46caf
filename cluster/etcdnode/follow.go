package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"scomconnector/cluster/state"
)

const (
	// pageKeys and a page's bytes stay well below what gRPC carries: shards have up to 40 KB.
	pageKeys = 200
	// retryEtcd is the pause before etcd is tried again, and refusedPause the one after an answer that only people can change: etcd
	// works some 50 ms on each password that it checks.
	retryEtcd    = 300 * time.Millisecond
	refusedPause = 5 * time.Second
)

// follow keeps the replica until ctx ends: it reads everything, watches from there, and begins anew whenever the watch ends, for
// whatever reason: a compaction has overtaken it, etcd has lost its majority or its data, or this node its contact.
func (n *Node) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := n.followOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errReload) {
			continue // what is known stays so meanwhile
		}
		n.replica.lost()
		if errors.Is(err, state.ErrUnknownCommand) {
			n.fail(fmt.Errorf("the keys in etcd were written by a newer scomconnector: upgrade this node: %w", err))
			return
		}
		n.noteTrouble(err)
		pause(ctx, n.patience(retryEtcd, err))
	}
}

// patience is the pause after a call that ended with err, where it is usual after others.
func (n *Node) patience(usual time.Duration, err error) time.Duration {
	if err != nil && lack(err, n.cfg) != Majority && !errors.Is(err, rpctypes.ErrInvalidAuthToken) { // that one is gone with the next log-on
		return max(usual, refusedPause)
	}
	return usual
}

// errReload: everything is to be read again, and nothing is wrong.
var errReload = errors.New("reading everything again")

func (n *Node) followOnce(ctx context.Context) error {
	before := n.known()
	rev, items, err := n.readAll(ctx)
	if err != nil {
		return err
	}
	if err := n.admit(ctx, before, rev, items); err != nil {
		return err
	}
	if err := n.replica.loaded(rev, items); err != nil {
		return err
	}
	n.noteContact(rev)
	wctx, stop := context.WithCancel(ctx)
	defer stop()
	watched := n.kv.Watch(wctx, "", rev+1)
	for {
		select {
		case <-n.reload:
			return errReload
		case w, ok := <-watched:
			switch {
			case !ok:
				return errors.New("the watch has ended")
			case errors.Is(w.Err, errCompacted):
				n.log.Info("etcd has dropped what this node had not seen yet: reading everything again")
				return errReload
			case w.Err != nil:
				return w.Err
			}
			again, err := n.replica.heard(w.Events)
			if err != nil {
				return err
			}
			n.learned()
			if again {
				return errReload
			}
		}
	}
}

// readAll reads every key as of one revision.
func (n *Node) readAll(ctx context.Context) (int64, []keyValue, error) {
	var items []keyValue
	var revision int64
	after := ""
	for {
		p, err := n.kv.Page(ctx, "", after, pageKeys, revision)
		if err != nil {
			return 0, nil, err
		}
		if revision == 0 {
			revision = p.Revision
		}
		items = append(items, p.Items...)
		if !p.More || len(p.Items) == 0 {
			return revision, items, nil
		}
		after = p.Items[len(p.Items)-1].Key
	}
}

// admit looks whether what was read is this cluster's, and as new as what this node had seen before. What is not is not taken in: the
// error says what to do, unless this node can put it right from its own copy, which it then tries.
func (n *Node) admit(ctx context.Context, before heights, rev int64, items []keyValue) error {
	seen := newReplica()
	for _, it := range items {
		if isOwn(it.Key) {
			seen.ownKey(it.Key, &it)
		}
	}
	mine := n.ident()
	if seen.cluster == nil {
		return n.found(ctx, rev)
	}
	c := decodeValue[clusterValue](seen.cluster)
	switch {
	case c.Format > format:
		return fmt.Errorf("layout %d: %w", c.Format, state.ErrUnknownCommand)
	case mine.ClusterID != "" && c.ID != mine.ClusterID:
		return &trouble{text: fmt.Sprintf("the keys that begin with %s belong to another cluster, %s, and this node to %s: correct Etcd.Prefix or Etcd.Endpoints; "+
			"or stop this node and delete %s, if that was left from another cluster", n.cfg.Prefix, c.ID, mine.ClusterID, identityPath(n.cfg.DataDir)), lasting: true}
	case mine.ClusterID == "" && n.strangers(c.Members):
		return &trouble{text: fmt.Sprintf("the keys that begin with %s belong to another cluster, whose members are %v: give this one an Etcd.Prefix of its own", n.cfg.Prefix, c.Members), lasting: true}
	}
	if n.hasGoneBack() || before.above(rev, seen) {
		return n.goneBack(ctx, rev, c.ID, seen)
	}
	return n.join(c.ID, rev)
}

// trouble is what keeps this node from taking part, in one sentence for people.
type trouble struct {
	text    string
	do      string // what to do, in a clause; empty: the text says it
	lasting bool   // only a person can mend it
}

func (t *trouble) Error() string { return t.text }
