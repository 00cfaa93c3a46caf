// Package cluster is what the rest of the program knows of the cluster: who leads,
// how to propose a change, how to hand over.
//
// One interface, Coordinator, stands before the backends (raftnode, etcdnode),
// which pass one conformance suite in clustertest.
package cluster
