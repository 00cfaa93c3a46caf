package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	v1 "scomconnector/api/v1"
)

// Settings is a version of the cluster-wide settings, plain secrets hidden; 0 is the one in use. Errors are always an *Error,
// here and below.
func (c *Client) Settings(ctx context.Context, version uint64) (v1.Settings, error) {
	path := "/api/v1/config"
	if version > 0 {
		path += fmt.Sprintf("?version=%d", version)
	}
	var s v1.Settings
	err := c.get(ctx, path, &s)
	return s, err
}

// SettingsVersions lists the versions that are kept, newest first.
func (c *Client) SettingsVersions(ctx context.Context) ([]v1.SettingsVersion, error) {
	var s v1.SettingsVersions
	err := c.get(ctx, "/api/v1/config/versions", &s)
	return s.Versions, err
}

// ApplySettings puts the text into use in place of the version that was changed, and returns the version in use then, and which
// members could not check it. Where the text was taken from an older version, from names it, so that its hidden secrets are kept; else it is 0.
func (c *Client) ApplySettings(ctx context.Context, text []byte, changed, from uint64) (v1.SettingsApplied, error) {
	path := "/api/v1/config"
	if from > 0 {
		path += fmt.Sprintf("?from=%d", from)
	}
	var s v1.SettingsApplied
	err := c.do(ctx, call{method: http.MethodPut, path: path, ifMatch: fmt.Sprintf("%q", fmt.Sprint(changed)), body: text, into: &s})
	return s, err
}

// Parked lists what was refused for good, newest first.
func (c *Client) Parked(ctx context.Context) ([]v1.ParkedEntry, error) {
	var s v1.ParkedList
	err := c.get(ctx, "/api/v1/parked", &s)
	return s.Entries, err
}

// ParkedPayload is one parked entry with what was refused.
func (c *Client) ParkedPayload(ctx context.Context, pipeline, key string) (v1.ParkedPayload, error) {
	var s v1.ParkedPayload
	err := c.get(ctx, parkedPath(pipeline, key), &s)
	return s, err
}

// RemoveParked takes a parked entry away. Nothing is sent again.
func (c *Client) RemoveParked(ctx context.Context, pipeline, key string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: parkedPath(pipeline, key)})
}

// RetryParked has a parked entry sent again, and waits for the LAM's answer: it has left the shelf unless there is an error.
func (c *Client) RetryParked(ctx context.Context, pipeline, key string) (v1.ParkedRetried, error) {
	var s v1.ParkedRetried
	err := c.do(ctx, call{method: http.MethodPost, path: parkedPath(pipeline, key) + "/retry", into: &s, deadline: resendDeadline})
	return s, err
}

// ConfirmVanished says that alerts which SCOM does not show any more are really gone, and returns how many were held
// back for that word. It is for the leader; any other node refuses with 409.
func (c *Client) ConfirmVanished(ctx context.Context) (int, error) {
	var v v1.Vanished
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/reconcile/confirm", into: &v})
	return v.Vanished, err
}

// LogLevel is how much the node logs.
func (c *Client) LogLevel(ctx context.Context) (string, error) {
	var l v1.LogLevel
	err := c.get(ctx, "/api/v1/loglevel", &l)
	return l.Level, err
}

// SetLogLevel changes it until the node's next start, and returns what it is then.
func (c *Client) SetLogLevel(ctx context.Context, level string) (string, error) {
	l := v1.LogLevel{Level: level}
	body, err := json.Marshal(l)
	if err != nil {
		return "", &Error{Message: "the order cannot be written as JSON: " + err.Error(), Err: err}
	}
	err = c.do(ctx, call{method: http.MethodPut, path: "/api/v1/loglevel", body: body, into: &l})
	return l.Level, err
}

// parkedPath keeps the slashes of a pipeline's name.
func parkedPath(pipeline, key string) string {
	parts := strings.Split(pipeline, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/api/v1/parked/" + strings.Join(parts, "/") + "/" + url.PathEscape(key)
}
