// Package publishertest simulates a Moogsoft LAM: an HTTP server that takes
// {"auth_token":...,"events":[...]}, remembers what arrived in which order, and
// fails on demand in every way in which real ones and what stands in front of
// them were seen to fail.
//
// It knows nothing of the client it tests: what it answers comes from Moogsoft's
// documentation and from clients that others published. Where these are silent
// (the exact JSON of an answer) it answers the least that they agree upon: a
// status, and an object with "success" and "message".
package publishertest
