// Package etcdnode is the cluster backend for sites that run an etcd of three or more: it decides who leads, and holds the state.
//
// Open starts a node, Run then leads whenever this node can, Close ends it, as with raftnode; what an etcd is asked for stands in kv.go,
// and client.go asks it. The pieces: a copy of everything, read once and kept by a watch (follow.go, copy.go); leadership by a lease and
// guarded transactions (term.go, lease.go, transfer.go); one goroutine that writes (write.go) and folds (fold.go); how a prefix becomes a
// cluster, and what is done when etcd has lost it (found.go); an etcd that takes no writes (stall.go); close requests and forwarded proposals (propose.go); the other members
// (peers.go); which keys there are (layout.go); and, while no node runs, the state on its way from or to another backend (migrate.go).
//
// Why it is so:
//
//   - No concurrency.Election: its Campaign can return success without a key or a lease. The leader's key is created by a transaction
//     that demands that there is none; its create revision is the term, and a condition of every write of the term.
//   - A lease is over for others when etcd says so, and for the leader earlier: it counts on its own monotonic clock, from before the
//     last renewal was sent, and stops a margin before the end. It stops whether or not it can reach etcd then.
//   - A lease may go on after its key was deleted by hand, and a key may be deleted while its leader cannot hear of it. So a renewal only
//     counts if the key was there after it; and who sees the key vanish before the lease could have ended waits for a whole TTL. So does a node that starts, or comes back, and finds
//     that the last term was not given away: unless it was a term of its own folder, whose lock tells that that process has ended.
//   - Revisions begin anew when an etcd is set up anew or restored. So a term's token begins with an epoch, which is raised whenever the
//     revision is not higher than one that was seen before. What such an etcd has lost is written back by whoever still has a copy.
//   - A leader applies a command to a draft, writes the parts that have changed, and puts them into its own copy once etcd has them:
//     what others see of a leader's state is in etcd. After a transaction of unknown outcome it looks for its mark before it goes on.
//   - Every such transaction also writes one key, and other changes of parts were made by hand: nobody takes them in, and the leader
//     puts back what it has.
//   - Close requests alone are written by any node, without a leader, each as a key of its own; their order is that of revisions.
//   - Deltas are folded into the base between the commands, a few pieces at a time: they may be put in twice.
package etcdnode
