package port

import (
	"context"
	"errors"
	"net"
	"time"
)

// MaxCall bounds a call whose caller gives no deadline.
const MaxCall = 30 * time.Second

// ErrNotSent: the request has not left this node, so it has had no effect.
var ErrNotSent = errors.New("the request was not sent")

// Patience is how long a call waits for its answer: until ctx ends, and no longer than MaxCall.
func Patience(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(MaxCall, time.Until(end))
	}
	return MaxCall
}

// Exchange sends one request and reads its answer. An error leaves open whether the request had an effect.
func Exchange[Answer any](ctx context.Context, conn net.Conn, request any, timeout time.Duration) (answer Answer, err error) {
	conn.SetDeadline(time.Now().Add(timeout))                                    //nolint:errcheck // a connection that is gone fails at the next write
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // as above
	defer stop()
	if err := WriteFrame(conn, nil, request); err != nil {
		return answer, err
	}
	err = ReadFrame(conn, &answer)
	return answer, err
}
