package scom

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"scomconnector/poller/alert"
)

// poll asks this console once, logging on first if need be, and once more if the session has
// ended. The error is a *failure, a callbackError, or ctx's.
func (c *console) poll(ctx context.Context, q alert.Query, row func(alert.Row) error) (alert.Answer, error) {
	s, err := c.current(ctx, nil)
	if err != nil {
		return alert.Answer{}, err
	}
	answer, err := c.read(ctx, s, q, row)
	if errors.Is(err, errSessionOver) {
		if s, err = c.current(ctx, s); err != nil {
			return alert.Answer{}, err
		}
		answer, err = c.read(ctx, s, q, row)
		if errors.Is(err, errSessionOver) {
			c.drop(s)
			return alert.Answer{}, &failure{class: alert.FaultAuth, away: true,
				plain: "lets " + c.account.name + " log on, but not read alerts",
				err:   fmt.Errorf("refused although the log-on was accepted a moment ago: may %s read alerts? %w", c.account.name, err)}
		}
	}
	if errors.Is(err, errHTML) {
		c.drop(s) // perhaps it only wants a new log-on
	}
	return answer, err
}

// errSessionOver is an answer that says that the session has ended, or never was good enough.
var errSessionOver = errors.New("session over")

// ask sends data/alert and returns the answer once it is known to hold rows.
func (c *console) ask(ctx context.Context, s *session, criteria string, slow bool) (*reply, error) {
	body, err := alertRequest(criteria, s.columns)
	if err != nil {
		return nil, broken("compose the query: %w", err)
	}
	rep, err := c.do(ctx, request{method: "POST", path: pathAlerts, body: body, session: s, slow: slow, repeatable: true})
	if err != nil {
		return nil, err
	}
	c.noteLatency(rep.waited)
	if rep.StatusCode == http.StatusOK {
		return rep, nil
	}
	defer rep.close()
	said, err := c.readSmall(ctx, rep)
	if err != nil {
		return nil, err
	}
	message := errorMessage(said.body)
	switch {
	case expired(rep.StatusCode, message):
		return nil, fmt.Errorf("%w (%s)", errSessionOver, statusText(rep.StatusCode, message))
	case criteriaRefused(rep.StatusCode, message):
		return nil, &failure{class: alert.FaultCriteria, err: fmt.Errorf("the console refused the query: %s", statusText(rep.StatusCode, message))}
	}
	return nil, refused(said)
}

// consume reads the rows to the answer's end.
func (c *console) consume(ctx context.Context, s *session, rep *reply, row func(alert.Row) error) (alert.Answer, error) {
	start := time.Now().Add(-rep.waited)
	reader := c.client.readers.Get().(*rowsReader)
	n, err := reader.read(rep, row)
	c.client.readers.Put(reader)
	if _, own := errors.AsType[callbackError](err); own {
		return alert.Answer{ServerDate: dateOf(rep)}, err
	}
	if err != nil {
		if _, said := errors.AsType[saidError](err); said || errors.Is(err, errHTML) {
			c.drop(s) // perhaps it only wants a new log-on
		}
		return alert.Answer{}, c.explainBody(ctx, rep, err)
	}
	return alert.Answer{Rows: n, Bytes: rep.bytes, Duration: time.Since(start), Console: c.conf.Name, ServerDate: dateOf(rep)}, nil
}

// dateOf is the console's clock by an answer's head; zero without one. The head is dated when it is sent, and the rows may have
// been read as early as the request came: of a slow answer the earlier time counts, lest a cursor runs ahead of what was read.
func dateOf(rep *reply) alert.Millis {
	date, err := http.ParseTime(rep.Header.Get("Date"))
	if err != nil {
		return 0
	}
	return alert.MillisOf(date.Add(-rep.waited.Truncate(time.Second)))
}

// explainBody tells an answer that was cut from one that is wrong.
func (c *console) explainBody(ctx context.Context, rep *reply, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, late := errors.AsType[*timeout](context.Cause(rep.ctx)); late {
		return c.explain(ctx, rep.ctx, err, false)
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok && !strings.Contains(err.Error(), "unexpected EOF") {
		return broken("broken JSON after %d bytes: %w", rep.bytes, syntax.Err)
	}
	if strings.Contains(err.Error(), "unexpected EOF") {
		return broken("the answer was cut after %d bytes", rep.bytes)
	}
	return broken("after %d bytes: %w", rep.bytes, err)
}

// parseGroup reads {"name":…,"id":…}.
func parseGroup(body []byte) string {
	var group struct {
		Name string `json:"name"`
	}
	body = bytes.TrimSpace(body)
	if len(body) > 1 && body[0] == '[' && body[len(body)-1] == ']' { // as the documentation prints it
		body = body[1 : len(body)-1]
	}
	if json.Unmarshal(body, &group, json.MatchCaseInsensitiveNames(true)) != nil {
		return ""
	}
	return clip(group.Name)
}
