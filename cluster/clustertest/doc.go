// Package clustertest runs a cluster of N nodes in one test, breaks it, and checks what its callers have seen.
//
// New gives a cluster of raftnode nodes in memory, on a network in memory, to be used inside a
// testing/synctest bubble, where hours of failovers take a second. NewOver does the same over
// another Backend. The Cluster runs every node's Run with a lead that records its spans, and fails the
// test by itself if two of them ever overlap or a token goes backwards; AllowOverlap lets leads of different
// epochs overlap where that was chosen. A node may be killed, stopped, cut off, have its disk fail, be
// wiped or replaced by an older copy, its way to the claims be cut, its clock jump, and its process stand still (Pause):
// then its goroutines go on, since a bubble cannot stop them, but no packet and no write gets out, and its lead does not count.
//
// Conformance is the suite that each backend of cluster.Coordinator passes.
package clustertest
