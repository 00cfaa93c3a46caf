package v1

// Leadership answers what changes who leads: POST maintenance, transfer, takeover.
type Leadership struct {
	Leader      string   `json:"leader"`
	Maintenance []string `json:"maintenance"` // nodes that must not lead
}

// MaintenanceOrder is the body of POST /api/v1/maintenance.
type MaintenanceOrder struct {
	Node   string `json:"node"`   // empty: the node that is asked
	Action string `json:"action"` // "enter", "leave"
	Force  bool   `json:"force"`  // also when the sibling reaches neither SCOM nor a LAM
	Sticky bool   `json:"sticky"` // enter: a restart does not end it
}

// TransferOrder is the body of POST /api/v1/transfer.
type TransferOrder struct {
	To    string `json:"to"` // empty: the one other node that can lead
	Force bool   `json:"force"`
}

// TakeoverOrder is the body of POST /api/v1/takeover.
type TakeoverOrder struct {
	Force bool `json:"force"` // although something may be lost
}

// Members answers GET /api/v1/members.
type Members struct {
	Leader  string   `json:"leader"`
	Members []Member `json:"members"`
}
