package state

import (
	"time"

	"scomconnector/poller/alert"
)

// Limits of the state. They are part of the replicated behaviour: see the package comment.
const (
	// MaxRemembered bounds one pipeline's delivered map; 500,000 entries take about 20 MB.
	MaxRemembered = 500_000
	// MaxParked and MaxParkedBytes bound one pipeline's parked entries. A person must look at each
	// of them; whoever has a thousand has one fault a thousand times.
	MaxParked      = 1000
	MaxParkedBytes = 16 << 20
	// MaxOutbox and MaxOutboxBytes bound the requests that wait, whatever the settings say: theirs go up to this.
	MaxOutbox      = 1_000_000
	MaxOutboxBytes = 1 << 30
	// MaxRequest bounds one request as it is encoded: SCOM's fields have 255 characters, and a few of them must fit into a command.
	MaxRequest = 16 << 10
	// MaxSettled and KeepSettled bound the settled requests that are remembered: for the page, and so that a repeated Key is known.
	MaxSettled  = 1000
	KeepSettled = 24 * time.Hour
	// MaxPipelines includes the removed ones that are still kept.
	MaxPipelines = 64
	// MaxConfigText leaves room in a command for the author and the token.
	MaxConfigText = 60 << 10
	// MaxName bounds the names of pipelines, nodes, clusters and management groups.
	MaxName = 255

	maxKinds          = 64  // raised self-alerts of a pipeline; the kinds are a closed set of a few
	maxKindName       = 64  // bytes
	maxConfigVersions = 20  // kept for roll-back
	maxChanges        = 100 // leader changes kept for the page
	maxText           = 512 // bytes kept of a reason or author: a sentence, not a document
	maxNotes          = 50  // notes of merges kept for the page
	maxNoteText       = 2048
	maxReason         = 1 << 10 // bytes kept of SCOM's words about a request
	maxRequestID      = 64      // bytes; it stands in a comment in SCOM
	maxFields         = 32      // of a request; SCOM has twelve that may be changed
	// maxMaintenance bounds the nodes with a flag. Their notes, and the three of Merge's own, fit in maxNotes.
	maxMaintenance = 32
	maxLogons      = 64             // accounts and their secrets
	keepLogons     = 24 * time.Hour // without news

	keepRemoved = 7 * 24 * time.Hour // a pipeline taken out by mistake comes back where it stood
)

// The times that commands may carry are those that can be printed: years 0 to 9999. A version's
// time is packed beside its state in 64 bits, which needs a bound anyway.
const (
	minMillis alert.Millis = -62_167_219_200_000
	maxMillis alert.Millis = 253_402_300_799_999
)

// bucketMillis is the grain in which closed versions are forgotten.
const bucketMillis = 10_000
