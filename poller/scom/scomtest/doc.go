// Package scomtest is a simulator of SCOM's web consoles: one management group's alerts, shown by
// any number of consoles over the REST interface, each with its own sessions and fault switches.
//
//	group := scomtest.New(scomtest.Options{Version: "2022"})
//	console := group.Console(scomtest.ConsoleOptions{})
//	console.Serve(listener) // or mount it: a Console is an http.Handler
//	defer console.Close()
//	id := group.Raise(scomtest.Alert{Name: "Health Service Heartbeat Failure", Severity: scomtest.Error})
//	console.Set(scomtest.Faults{Hang: true})
//
// It answers from Microsoft's documentation and from what public clients report, and it shares no
// type with our own client: a misreading in the one must not be repeated in the other. Where nothing
// is documented it takes the stricter or the nastier of the possible readings: dates with a fraction
// are refused, a missing CSRF header is refused, rows come in no order and some come twice, an empty
// column is null, empty or left out, whichever the row happens to draw.
//
// SCOM's database is slower than its clock: a row may become visible long after the LastModified it
// carries. [Options.LateCommit] and [Group.RaiseLate] make such rows, and [Group.Shown] and
// [Group.Confirmed] keep account of every version that an answer showed, so that a test can demand
// that each of them arrived.
//
// Everything drawn at random comes from [Options.Seed]. Data is stamped by [Options.Now], waiting is
// done by package time; both are simulated inside a testing/synctest bubble.
package scomtest
