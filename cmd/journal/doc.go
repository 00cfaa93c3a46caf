// Package journal is a node's log: what is written, in which form, and where it goes.
//
//	j, err := journal.Open(journal.Config{Level: "INFO", File: "/var/log/scomconnector.log", MaxSizeMB: 50, MaxBackups: 5}, os.Stderr)
//	defer j.Close()
//	j.Logger().Info("node started")
//	err = j.SetLevel("DEBUG") // at once, for all that was made of Logger
//
// The levels are the words that operators know from the original: OFF FATAL ERROR WARN INFO DEBUG ALL. hclog knows no FATAL; here it
// is the lines that carry the key "fatal": the last ones of a node that cannot go on.
//
// What says the same again and again (a console that comes and goes every few seconds) is written a few times, and then with its
// number after a minute, after two, and so on, at last once in half an hour; from DEBUG on everything is written. What changes a
// state, such as who leads or which settings are in use, is always written at once: see Milestones.
//
// Each event is one line: an error of several parts has them in it, with "; " between.
//
// What people change stands in the log whatever its level: who turns the log off must not thereby hide what he does next. So Audit
// is a logger of its own, with the same places to go to, except Windows' event log, which is for those who look after machines.
package journal
