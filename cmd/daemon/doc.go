// Package daemon makes one running node of the parts: it is the only place that knows them all.
//
// Run is one straight function: open the cluster's store, serve the API, take part in the cluster,
// and, for as long as this node leads, run a feed: the consoles, the destinations and one pipeline
// for each destination, as one version of the settings describes them. A new version of the
// settings ends the pipelines and starts others, from the committed position, within the same term.
//
// Beside the term there are chores, one goroutine each, which run whether this node leads or not and look at the
// cluster's view: the caretaker (fail-back, a leader that cannot work, the end of this node's own maintenance), the alarm
// that nobody leads, the ends of certificates. What an operator orders comes in through office. All of them only decide;
// who leads is changed by the coordinator alone, which checks again. Nodes ask each other three things (peers.go), over the
// nodes' own port. Migration, while no node runs, carries the state from one backend to the other.
//
// What a node could do if it led is found out without a log-on and without a post, and the same way on both sides: a
// console that answers everybody with errors, or refuses the account, must not send leadership to and fro.
package daemon
