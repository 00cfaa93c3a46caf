// Package port is the one port of a node, over which the members of a cluster speak to each other, whichever way they are
// coordinated.
//
// Every connection begins with a greeting, both ways, under mutual TLS where more than one machine is concerned; each side may refuse
// the other in words for an operator, and a refusal still carries the greeting. What follows the greeting is of the kind that the
// caller named in its first byte: raft's own stream, or requests and answers one after the other, as frames of JSON. The bytes and
// their limits are this package's; what they ask for is the backend's.
package port
