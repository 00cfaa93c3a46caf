// Package scom reads and changes alerts at SCOM's web consoles over REST (1801 or later).
//
//	client, err := scom.New(scom.Config{Consoles: []scom.Console{{
//		URL: "https://scom1.contoso.com/OperationsManager", Domain: "CONTOSO", User: "svc", Password: secret,
//	}}}, log)
//	defer client.Close()
//	answer, err := client.Poll(ctx, alert.Query{From: cursor}, func(r alert.Row) error { ... })
//
// Nothing in it was checked against a live SCOM: the documentation is thin, so it
// decodes leniently (strings, numbers and nulls are interchangeable, columns may
// be missing or in any order) and keeps every assumption about SCOM in wire.go,
// column.go and date.go.
//
// SCOM does not sort, page or limit its answers, so rows are decoded one by one from
// the stream, and the answer counts only when its JSON document has ended properly:
// one that was cut looks like a shorter one. A row that cannot be understood is handed
// over as such, so that it does not hold up the others.
//
// Web consoles cannot be load-balanced (their sessions are their own), so the client
// holds a list. One is in use; a time-out, a refused connection or a refused log-on
// moves on to the next at once, other failures after MaxPollRetryAttempt of them. The
// better ones are probed without a log-on and used again after some good minutes.
//
// A console in Windows mode has each connection logged on, beside SCOM's session: lanes.go does so with NTLM, or on
// Windows with the program's own account, kerberos.go with a ticket in each request. SCOM's session is the same on top.
//
// A bad log-on is dear: directories lock an account after a few, wherever they were
// made. So there is one log-on at a time for each account, a refusal silences the
// account at all consoles for minutes, and no other spelling of the log-on is tried. Probes never log on.
//
// Changes (write.go; what is assumed of them stands in writewire.go) use the same
// session and the same pauses, and are never repeated here: a fault says whether the
// change may have happened, and the caller decides.
//
// What not every version of SCOM has is found out at each log-on and shown (features.go); nothing depends on a version's
// number. That times in rows are UTC is known by a column's name, or tested on one alert (times.go).
//
// SCOM's clock is the only one that counts for positions: Answer.ServerDate comes from
// the Date header, less the whole seconds the console took to answer, since the rows
// may have been read as early as the request arrived.
package scom
