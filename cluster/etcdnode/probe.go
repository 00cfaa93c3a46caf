package etcdnode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// probe looks at etcd itself, beside the watch, which can hang: whether a majority answers, whether the keys are still this cluster's,
// whether the watch keeps up, and how long the leader's lease lasts.
func (n *Node) probe(ctx context.Context) {
	var behind time.Time // since when the watch lacks what etcd shows
	every := n.cfg.TTL / 3
	for wait := every; pause(ctx, wait); {
		k := n.replica.keys()
		actx, cancel := context.WithTimeout(ctx, every)
		out, err := n.kv.Txn(actx, nil, []op{get(keyCluster), get(keyLeader), get(keyCommit), get(keyEpoch)}, nil)
		wait = n.patience(every, err)
		if err != nil {
			cancel()
			if ctx.Err() == nil && !n.heardWithin(n.cfg.TTL/2) {
				n.noteTrouble(err)
			}
			continue
		}
		if n.lookAtLease(actx, out.Found[1]) < n.cfg.TTL/2 {
			wait = lastLooks
		}
		cancel()
		if !k.synced {
			continue // follow is reading
		}
		if out.Revision < k.revision || out.Found[2] != nil && out.Found[2].Mod < modOf(k.commit) {
			n.wentBack()
			continue
		}
		if modOf(out.Found[0]) != modOf(k.cluster) || modOf(out.Found[3]) <= k.revision && !same(out.Found[3], k.epoch) {
			n.log.Warn("etcd does not hold what this node has read there: reading everything again", "revision", out.Revision, "seen", k.revision)
			n.readAgain()
			continue
		}
		n.noteContact(out.Revision)
		switch now := n.replica.keys(); {
		case modOf(out.Found[2]) <= now.revision && (modOf(out.Found[1]) == modOf(now.leader) || now.revision > out.Revision):
			behind = time.Time{}
		case behind.IsZero():
			behind = time.Now()
		case time.Since(behind) > n.cfg.TTL/2:
			n.log.Warn("the watch on etcd does not tell what has changed: reading everything again")
			behind = time.Time{}
			n.readAgain()
		}
	}
}

// A lease that its leader has not renewed for so long that it may end is looked at every lastLooks, and a look older than lateLook says
// nothing about its end: the leader may have renewed it since.
const (
	lastLooks = 200 * time.Millisecond
	lateLook  = time.Second
)

// lookAtLease learns how long the leader's lease lasts, which it returns; what is not known is for ever. Should its key vanish earlier,
// then somebody has deleted it, and the leader may not know yet.
func (n *Node) lookAtLease(ctx context.Context, leader *keyValue) time.Duration {
	if leader == nil || leader.Lease == 0 {
		return math.MaxInt64
	}
	asked := time.Now()
	left, err := n.kv.Left(ctx, leader.Lease)
	if err != nil {
		return math.MaxInt64
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leftAsked, n.leftAt, n.leftFor, n.leftOf = asked, time.Now(), left, leader.Lease
	return left
}

// mayLeadStill reports whether another process may lead without a key.
func (n *Node) mayLeadStill(v vacancy) bool {
	return !v.resigned && v.by.Process != n.process && time.Now().Before(n.mayStillLead(v))
}

// mayStillLead is until when the leader whose key has gone may not know it yet, by the last look at its lease, of which etcd tells whole
// seconds. Where the key went before the lease could have ended, or the lease was not looked at right before, somebody may have deleted the
// key, or revoked the lease, right after a renewal: so it is too for a node that starts and finds that the last term was not given away. Else
// nobody has renewed it since, and the leader stops a margin before it ends. A term of this very folder is over with its process, whose
// lock of the folder is this one's now.
func (n *Node) mayStillLead(v vacancy) time.Time {
	last := n.replica.state.Token()
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.identity.Token == last:
		return time.Time{}
	case v.lease == 0, n.leftOf != v.lease, v.at.Before(n.leftAsked.Add(n.leftFor)), v.at.Sub(n.leftAsked) > lateLook:
		return v.at.Add(v.by.ttl(n.cfg.TTL))
	}
	return n.leftAt.Add(n.leftFor + time.Second - margin(v.by.ttl(n.cfg.TTL)))
}

func (n *Node) readAgain() {
	select {
	case n.reload <- struct{}{}:
	default:
	}
}

// noteContact: a majority of etcd has answered.
func (n *Node) noteContact(rev int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.said != "" {
		n.log.Info("this node takes part")
		n.said = ""
	}
	n.contact, n.trouble, n.doing, n.lasting = time.Now(), "", "", false
	n.seen = max(n.seen, rev)
	n.emptySince = time.Time{}
}

// noteTrouble keeps why there is no contact, and logs it when it changes.
func (n *Node) noteTrouble(err error) {
	text, do, lasting := "etcd cannot be used: "+err.Error(), "", false
	if t, ok := errors.AsType[*trouble](err); ok {
		text, do, lasting = t.text, t.do, t.lasting
	} else if words := n.endpointFaults(); words != "" {
		text = words
	} else if words := explainAnswer(err, n.cfg); words != "" {
		text = "etcd cannot be used: " + words
	} else if n.notAskedYet() {
		text = noAnswerYet
	} else if isTransport(err) {
		text = n.silent()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trouble, n.doing, n.lasting = text, cmp.Or(do, mendEtcd), lasting
	if text != n.said && text != noAnswerYet {
		n.said = text
		if lasting {
			n.log.Error("this node cannot take part", "reason", text)
		} else {
			n.log.Warn("this node cannot take part for now", "reason", text)
		}
	}
}

// mendEtcd is what to do beyond what the text says itself.
const mendEtcd = "`scomconnector doctor` on this node tries each step on the way to the etcd"

// silent is said of an etcd that does not answer, before it is known which of its endpoints lacks what.
func (n *Node) silent() string {
	var urls []string
	for _, e := range n.kv.Endpoints() {
		urls = append(urls, e.URL)
	}
	return "etcd does not answer at " + strings.Join(urls, ", ")
}

// noAnswerYet stands until it is known what is wrong.
const noAnswerYet = "etcd has not answered yet"

// notAskedYet reports whether no endpoint's health is known.
func (n *Node) notAskedYet() bool {
	for _, e := range n.kv.Endpoints() {
		if e.Fault != notAsked {
			return false
		}
	}
	return true
}

// endpointFaults is what is wrong with the endpoints; empty: at least one works.
func (n *Node) endpointFaults() string {
	var faults []string // each once, in the order of the first that has it
	of := map[string][]string{}
	for _, e := range n.kv.Endpoints() {
		switch e.Fault {
		case "":
			return ""
		case notAsked:
			continue
		}
		if of[e.Fault] == nil {
			faults = append(faults, e.Fault)
		}
		of[e.Fault] = append(of[e.Fault], e.URL)
	}
	if len(faults) == 0 {
		return ""
	}
	for i, f := range faults {
		faults[i] = strings.Join(of[f], ", ") + ": " + f
	}
	return "etcd cannot be used: " + strings.Join(faults, "; ")
}

// noteHand keeps that keys were changed by somebody else than this program.
func (n *Node) noteHand(keys []string) {
	text := fmt.Sprintf("Keys in etcd were changed by hand at %s (%s%s), and put back.", time.Now().UTC().Format("15:04 UTC"), n.cfg.Prefix, strings.Join(keys[:min(3, len(keys))], ", "+n.cfg.Prefix))
	n.log.Error("keys in etcd were changed by somebody else than scomconnector; they are put back", "count", len(keys), "first", keys[0])
	n.mu.Lock()
	n.wrong, n.wrongAt = text, time.Now()
	n.mu.Unlock()
	if t := n.term.Load(); t != nil {
		t.mend(keys)
	}
}
