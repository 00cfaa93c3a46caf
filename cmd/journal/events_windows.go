package journal

import "golang.org/x/sys/windows/svc/eventlog"

func openEvents() (events, error) {
	log, err := eventlog.Open(EventSource)
	return events{log}, err
}
