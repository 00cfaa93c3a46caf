// Package publisher delivers batches of events to one destination's LAMs.
//
// It tells apart who is wrong, because the two cures are opposite: when the
// destination is wrong or away, everything is held and nothing is given up; when
// one event is malformed, that one event is set aside so that the others pass.
// The table that decides is in outcome.go.
package publisher
