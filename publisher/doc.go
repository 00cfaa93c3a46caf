// Package publisher delivers batches of events to one destination's LAMs.
//
// It tells apart who is wrong, because the two cures are opposite: when the
// destination is wrong or away, everything is held and nothing is given up; when
// one event is malformed, that one event is set aside so that the others pass.
// The table that decides is in outcome.go, and how the guilty event is found in
// attempt.go.
//
// A Destination is an ordered list of LAMs of one Moogsoft instance. All of them
// feed the same bus, so exactly one is used at a time: a batch given to two of
// them would count every event twice. The one in use fails: the same events go
// to the next one within the same Publish. Returning to an earlier one is the
// business of its breaker (health.go), which asks by connecting only, never by
// posting or logging on, and then risks a single event.
//
// Nothing is queued here. The caller holds what is Pending and comes back, since
// only it knows the position up to which everything was delivered.
package publisher
