// Package state is the replicated state: what every node knows after applying the
// same commands in the same order.
//
// It is pure. It has no clock, no randomness and no I/O: time and ids arrive in the
// command, encodings never depend on map order. A command carries the token of the
// term it was made in and is refused in any other, which is what keeps a leader of
// yesterday from moving a cursor today.
package state
