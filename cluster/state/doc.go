// Package state is the replicated state: what every node knows after applying the
// same commands in the same order.
//
// It is pure. It has no clock, no randomness and no I/O: time and ids arrive in the
// command, encodings never depend on map order. A command carries the token of the
// term it was made in and is refused in any other, which is what keeps a leader of
// yesterday from moving a cursor today. In the same way a commit carries how often its pipeline
// had been rewound, and is refused once it has been rewound again: it was made by somebody who has
// read up to the old position.
//
// Use: a backend encodes a Command (Encode; a Commit that may be long goes through SplitCommit
// first), has it ordered by its log, and hands the bytes to Apply on every node. A refusal is part
// of the Result and has changed nothing. An error of Apply is different: this program cannot know
// what the command would have done, so the node must stop applying. Skipping it would make its
// copy differ from the others for ever.
//
// Commands and snapshots are binary, not JSON: a delivered version costs about 19 bytes in the log
// and 20 in a snapshot, and the log is what every alert waits for. Both formats are canonical:
// there is one encoding of each value and anything else is refused, so equal states have equal
// bytes, and a test can compare two nodes by comparing their snapshots.
//
// What was delivered is remembered under the alert's whole id, never a hash of it: two alerts that
// collided would be one lost alert. The map is cut into 256 pieces that a snapshot shares and the
// next write copies, so that a snapshot of half a million entries does not hold up a commit.
//
// A node that yields its epoch to a higher one hands over what only its copy holds: Merge makes ops of it, which
// add to the other side's state and take nothing away. They may be repeated, in part too: what has arrived changes
// nothing. What cannot be carried over, such as maintenance flags, becomes a note for people.
//
// Close requests wait in the outbox in the order in which they were committed. Whether a request is new is decided here and not by
// whoever takes it in, since two nodes may take it in at once: by its ID, so that a proposal of unknown outcome may be repeated; by
// its Idempotency-Key; and by what it asks, if nothing else has been asked of that alert since.
//
// A backend without snapshots stores parts: Apply says which have changed, Stored and Delta write them, Install and InstallDelta are the
// other side. A new kind of part is a row of storedParts.
//
// The limits in this package are part of the replicated behaviour: a node with another limit
// would refuse what its sibling accepts. Changing one needs a new command version.
package state
