package v1

import "time"

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
