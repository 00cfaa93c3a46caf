// Package poller carries alerts from SCOM to one destination and moves that
// pipeline's cursor only over what the destination has taken.
//
// A Pipeline lives for one term of leadership: New, Run, and Drain before a
// planned handover. It starts from the committed position and nothing about
// position outlives it: SCOM's database is the queue, there is no second one to
// corrupt. The order is always publish, then commit; what goes out is safe to
// repeat, because Moogsoft folds events of one signature, and the delivered map
// keeps repeats to one batch per crash.
//
// Nothing sorts or pages in SCOM's REST interface, so an answer is consumed as
// an unordered stream: rows go out in batches while the answer is still being
// read, and the cursor moves only after its last byte.
//
// Two goroutines work. The reader (reader.go, rows.go, reconcile.go) asks one
// question at a time, which window.go decides, and fills batches; the sender
// (sender.go, aside.go, own.go) posts a batch, commits it, and takes the next.
// Three batches go round between them (lane.go), so that memory is bounded by
// configuration, whatever the size of an answer. While a LAM is away nothing is
// read: a console's connection must not hang for hours, and what changes
// meanwhile SCOM keeps.
//
// SCOM shows rows up to half a minute after the time they carry. Three things
// answer that: the cursor stays Settle behind the console's clock, full reads
// begin Overlap before the cursor, and the reconcile compares everything that
// is open with everything that was sent.
//
// The way back is the Writeback's (writeback*.go): it takes requests out of the
// replicated outbox and carries them out in SCOM, one goroutine for all. What it
// has written comes back with the next poll as a change; echo.go tells that from
// a change by anybody else.
package poller
