package v1

import "time"

// Settings is one version of the cluster-wide settings, as GET /api/v1/config shows it.
type Settings struct {
	Version uint64    `json:"version"`
	Author  string    `json:"author"`
	At      time.Time `json:"at"`
	// Text is SCOMConnectorConfig.json with its comments; what stands behind plain: is hidden.
	Text string `json:"text"`
}

// SettingsVersion is a version without its text.
type SettingsVersion struct {
	Version uint64    `json:"version"`
	Author  string    `json:"author"`
	At      time.Time `json:"at"`
}

// SettingsVersions lists the versions that are kept.
type SettingsVersions struct {
	Versions []SettingsVersion `json:"versions"` // newest first
}

// SettingsApplied answers PUT /api/v1/config.
type SettingsApplied struct {
	Version uint64 `json:"version"` // in use now; the same as before if the text was
	// Unchecked are the members that were out of contact, so that nobody knows whether they can use it.
	Unchecked []string `json:"unchecked"`
}

// ParkedList is all that is parked.
type ParkedList struct {
	Count   int           `json:"count"`
	Entries []ParkedEntry `json:"entries"` // newest first
}

// How a parked entry that was sent again has left the shelf.
const (
	RetryDelivered = "delivered" // a LAM has accepted it
	RetryOvertaken = "overtaken" // a newer state of the alert was delivered meanwhile, so nothing was sent
)

// ParkedRetried answers POST /api/v1/parked/{pipeline}/{key}/retry.
type ParkedRetried struct {
	Status string      `json:"status"` // RetryDelivered or RetryOvertaken
	Entry  ParkedEntry `json:"entry"`  // as it was
}

// ParkedPayload is one parked entry with what was refused.
type ParkedPayload struct {
	Entry ParkedEntry `json:"entry"`
	// Payload is the event, or the row of SCOM's, as it was; bytes that are not UTF-8 are replaced.
	Payload string `json:"payload"`
}

// Vanished is the answer of POST /api/v1/reconcile/confirm.
type Vanished struct {
	Vanished int `json:"vanished"` // alerts that were held back for that word; the next reconcile closes them
}

// LogLevel is how much a node logs: OFF, FATAL, ERROR, WARN, INFO, DEBUG or ALL.
type LogLevel struct {
	Level string `json:"level"`
}
