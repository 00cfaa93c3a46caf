package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	v1 "scomconnector/api/v1"
)

// Cursors are the positions of the pipelines. With to not zero, each says how much would be sent again from there on.
func (c *Client) Cursors(ctx context.Context, to time.Time) ([]v1.Cursor, error) {
	path := "/api/v1/cursors"
	if !to.IsZero() {
		path += "?to=" + url.QueryEscape(to.UTC().Format(time.RFC3339Nano))
	}
	var list v1.CursorList
	err := c.get(ctx, path, &list)
	return list.Cursors, err
}

// Rewind puts a pipeline's cursor back, so that everything from there on is sent again.
func (c *Client) Rewind(ctx context.Context, o v1.RewindOrder) (v1.Rewound, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return v1.Rewound{}, &Error{Message: "the order cannot be written as JSON: " + err.Error(), Err: err}
	}
	var back v1.Rewound
	err = c.do(ctx, call{method: http.MethodPost, path: "/api/v1/cursors/rewind", body: body, into: &back})
	return back, err
}
