// Package clustertest runs a cluster of N nodes in one test, and breaks it.
//
// New gives a cluster of raftnode nodes in memory, on a network in memory, to be used inside a
// testing/synctest bubble, where hours of failovers take a second. NewOver does the same over
// another Backend. The Cluster runs every node's Run with a lead that records its spans, and fails the
// test by itself if two of them ever overlap or a token goes backwards.
//
// Conformance is the suite that each backend of cluster.Coordinator passes.
package clustertest
