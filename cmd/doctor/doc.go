// Package doctor looks at every hop between SCOM and Moogsoft from one node's machine, and says of each what was seen and what
// to do.
//
//	report := doctor.Run(ctx, doctor.Options{NodeFile: "/etc/scomconnector/node.json"})
//	report.Print(os.Stdout)
//
// It changes nothing: it logs on to each web console once (and not at all while the account is being left alone), reads, and
// posts nothing. Only what the operator asks for by name is written: one alert is closed (ProbeWrite), marked test events are
// posted (ProbeLAM). What was not tried is called so, with the reason, and never "ok".
//
// The files are judged by settings.CheckFiles, the consoles, LAMs and endpoints of an etcd are reached by the very clients that a node uses, and what only
// the cluster knows is asked of the running node's status. What is seen is separate from what it means: judge.go has no I/O.
//
// The JSON form of a Report is stable: members are added and none is renamed. "result" is one of "ok", "warning", "fail" and
// "not tried".
package doctor
