package v1

import (
	"fmt"
	"time"
)

// CursorList answers GET /api/v1/cursors.
type CursorList struct {
	Cursors []Cursor `json:"cursors"`
}

// Cursor is a pipeline's position.
type Cursor struct {
	Pipeline   string    `json:"pipeline"`
	Cursor     time.Time `json:"cursor"`     // SCOM's time up to which all was delivered
	Earliest   time.Time `json:"earliest"`   // how far back it may be put
	Rewinds    uint64    `json:"rewinds"`    // how often it was put back
	Remembered int       `json:"remembered"` // alerts of which it is known what was sent
	// Again is how many alerts, of those remembered, were sent with a state from ?to=TIME on, and would be sent again; closed ones that
	// were forgotten already come on top of them. 0 without ?to.
	Again int `json:"again"`
}

// RewindSlack has the earliest time that was shown, and "7d", stay good while somebody thinks about it.
const RewindSlack = time.Hour

// Accepts says why the cursor cannot be put to that time, with what is accepted; nil: it can.
func (c Cursor) Accepts(to, now time.Time) error {
	const form = "2006-01-02T15:04:05Z"
	accepted := fmt.Sprintf("accepted is a time from %s to now", c.Earliest.UTC().Format(form))
	switch {
	case to.After(now):
		return fmt.Errorf("%s is in the future, and a cursor does not skip what was not delivered; %s", to.UTC().Format(form), accepted)
	case to.Before(c.Earliest.Add(-RewindSlack)):
		return fmt.Errorf("%s is too long ago, as SCOM has groomed what was resolved before; %s", to.UTC().Format(form), accepted)
	}
	return nil
}

// RewindOrder is the body of POST /api/v1/cursors/rewind.
type RewindOrder struct {
	Pipeline string    `json:"pipeline"` // empty: the only one there is
	To       time.Time `json:"to"`
}

// Rewound answers it.
type Rewound struct {
	Pipeline string    `json:"pipeline"`
	From     time.Time `json:"from"` // the cursor before
	To       time.Time `json:"to"`
	Again    int       `json:"again"` // as in Cursor
}
