package client

import (
	"context"
	"net/http"
	"net/url"

	v1 "scomconnector/api/v1"
)

// Outbox lists the close requests that wait, oldest first, and the newest that have come to their end. Errors are always an
// *Error, here and below.
func (c *Client) Outbox(ctx context.Context) (v1.OutboxList, error) {
	var list v1.OutboxList
	err := c.get(ctx, "/api/v1/outbox", &list)
	return list, err
}

// ParkedRequests lists the close requests that SCOM has refused for good, newest first.
func (c *Client) ParkedRequests(ctx context.Context) ([]v1.ParkedRequest, error) {
	var list v1.ParkedRequestList
	err := c.get(ctx, "/api/v1/parked-requests", &list)
	return list.Requests, err
}

// RetryRequest puts a parked close request back into the outbox.
func (c *Client) RetryRequest(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodPost, path: "/api/v1/parked-requests/" + url.PathEscape(id) + "/retry"})
}

// RemoveRequest takes a parked close request away. SCOM is not asked again.
func (c *Client) RemoveRequest(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/api/v1/parked-requests/" + url.PathEscape(id)})
}
