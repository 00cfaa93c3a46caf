package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	v1 "scomconnector/api/v1"
)

// Members is the nodes of the cluster as the one that is asked sees them, and who leads.
func (c *Client) Members(ctx context.Context) (v1.Members, error) {
	var m v1.Members
	err := c.get(ctx, "/api/v1/members", &m)
	return m, err
}

// RemoveMember drops a member that no node.json names any more.
func (c *Client) RemoveMember(ctx context.Context, nodeID string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/api/v1/members/" + url.PathEscape(nodeID)})
}

// Maintain has a node enter or leave maintenance, and returns once its sibling leads where it led itself.
func (c *Client) Maintain(ctx context.Context, o v1.MaintenanceOrder) (v1.Leadership, error) {
	return c.order(ctx, "/api/v1/maintenance", o, 0)
}

// Transfer has another node lead, and returns once it does.
func (c *Client) Transfer(ctx context.Context, o v1.TransferOrder) (v1.Leadership, error) {
	return c.order(ctx, "/api/v1/transfer", o, 0)
}

// TakeOver has the node that is asked lead although the nodes that it needs for that are gone, and returns once it does.
func (c *Client) TakeOver(ctx context.Context, o v1.TakeoverOrder) (v1.Leadership, error) {
	return c.order(ctx, "/api/v1/takeover", o, takeoverDeadline)
}

func (c *Client) order(ctx context.Context, path string, o any, deadline time.Duration) (v1.Leadership, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return v1.Leadership{}, &Error{Message: "the order cannot be written as JSON: " + err.Error(), Err: err}
	}
	var l v1.Leadership
	err = c.do(ctx, call{method: http.MethodPost, path: path, body: body, into: &l, deadline: deadline})
	return l, err
}

// Leads reports whether the node polls. It needs no token; any answer but an error tells that the node lives.
func (c *Client) Leads(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	req, err := c.request(ctx, call{method: http.MethodGet, path: "/leader"})
	if err != nil {
		return false, err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return false, unreached(c.base, err)
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK, nil
}

// Unready asks /readyz: why the node cannot take part, one reason each; none: it can.
func (c *Client) Unready(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	req, err := c.request(ctx, call{method: http.MethodGet, path: "/readyz"})
	if err != nil {
		return nil, err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, unreached(c.base, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReasonBytes))
	switch {
	case err != nil:
		return nil, unreached(c.base, err)
	case resp.StatusCode == http.StatusOK:
		return nil, nil
	case resp.StatusCode != http.StatusServiceUnavailable:
		return nil, refused(c.base, resp.StatusCode, body)
	}
	var reasons []string
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); line != "" {
			reasons = append(reasons, line)
		}
	}
	if len(reasons) == 0 {
		reasons = []string{"it does not say why"}
	}
	return reasons, nil
}

// maxReasonBytes is far more than a node has reasons.
const maxReasonBytes = 64 << 10
