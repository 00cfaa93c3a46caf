// Package pki is the small certificate authority of a cluster's nodes: it makes the files by which the nodes know each other.
//
// An authority is a folder with a certificate, which every node gets, and a key, which no node gets. A node has a certificate that
// names its NodeID, the key to it, and the authority's certificate. There are no lists of revoked certificates: with three nodes it
// is simpler to replace the authority, and a node's CaFile may hold two of them while that is under way.
//
// A renewed certificate keeps its key. The running node reads both files at each handshake, and one file can be replaced in one step
// where two cannot; besides, the key need not be there, so that a certificate can be renewed where the authority is kept. A key that
// somebody else may have seen is no case for renewal but for a new authority, since the old certificate would go on being believed.
package pki
