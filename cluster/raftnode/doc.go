// Package raftnode is the cluster backend that needs nothing but the nodes themselves.
//
// Open starts a node: it checks the data folder, opens the store, listens, and follows. Run then
// leads whenever this node is elected. Close ends it. A node that stops as planned ends Run's
// context first, which hands leadership to another node; Close alone is the end of a process that
// has no time for that.
//
// The pieces, each in its own file: a guarded store (store.go) that checksums what it writes and is
// given up when a write hangs; a check of the whole data folder before anything in it is opened for
// writing (verify.go, bolt.go); one port for raft and for our own calls, each connection beginning with
// a greeting (package port, wire.go); what is known of the other members (peers.go); how an empty node
// finds its cluster (form.go), how the leader takes it in (reconcile.go) and from when on it counts (arrive.go); leadership and terms
// (leadership.go, term.go); proposals (propose.go) and handovers (transfer.go). One goroutine alone starts, stops
// and replaces raft (keep.go). A leader of two goes on without a lost follower (pair.go, claim.go); a follower takes over
// by force (takeover.go); the lower epoch yields to the higher (yield.go, archive.go); older copies and clones of a
// data folder are noticed (sighting.go), and so are pauses of the machine (pause.go), handovers that never end
// (stuck.go), a disk that is about to be full (space.go) and a claims' folder that is of no use (share.go).
// While no node runs, a folder's state goes to another backend, or comes from one (migrate.go).
//
// Why it is so:
//
//   - Only the Primary ever bootstraps, and a cluster of itself alone. A wiped voter that bootstrapped
//     itself again elected a lagging node, and a committed close request was gone for good.
//   - Pipelining is off (MaxRPCsInFlight 1): with it, a follower whose store fails slowly for a while
//     is never replicated to again, while heartbeats go on.
//   - A write that hangs past its deadline may still land, so that store is never used again: the
//     process exits, and its service manager starts it anew.
//   - A term begins with a committed TermStart, whose token every command of the term carries. raft's
//     own word that a node leads says neither that it is up to date nor that it still leads.
//   - raft blocks while nobody reads its notifications. One goroutine only reads them and ends the
//     term's context; another one runs the term, and never begins one before the last has ended.
//   - raft knows no epochs: after a takeover by force, healing the link once let the old leader win in the very
//     same term and go on acknowledging. So nodes of different epochs exchange no byte of raft's; their greeting
//     alone tells the lower one to give way, and what was decided is on disk before anything is done about it.
//   - Who has only the beginning of a log finds the members of long ago in it, perhaps itself as the only one. So a node
//     that was taken in stands for no election before it holds all that was committed by then.
//   - A claim is used by the folder that set out to make it, and by no older copy of that folder; and it is used only once every
//     leader to whom this node has confirmed anything, or whom it has elected, must have stopped: the share may answer late.
//   - A pair's leader must take the lost follower's vote away before its own lease ends; afterwards nobody can.
//   - bbolt checks no page but its two meta pages, and panics or faults on a damaged file. So the
//     file is walked by our own reader first, and a node that finds damage refuses to start and
//     changes nothing: a wrong copy is worse than none.
package raftnode
