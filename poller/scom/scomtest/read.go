package scomtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// alertQuery is the body of data/alert. What it does not know is ignored, as WCF does.
type alertQuery struct {
	ClassID        *string        `json:"classId"` // matters only for state data
	GroupID        *string        `json:"groupId"` // 2022 and later
	ObjectIDs      map[string]int `json:"objectIds"`
	Criteria       *string        `json:"criteria"`
	DisplayColumns []string       `json:"displayColumns"`
}

// alerts answers data/alert: there is no order, no paging and no limit.
func (c *Console) alerts(w http.ResponseWriter, r *request) {
	q, err := parseQuery(r.body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "The request is invalid: "+err.Error())
		return
	}
	where := anything
	if q.Criteria != nil && strings.TrimSpace(*q.Criteria) != "" {
		if where, err = parseCriteria(*q.Criteria, c.group.opt.dates()); err != nil {
			refuse(w, c.group.opt.RefusalStatus, "The criteria could not be parsed. "+err.Error())
			return
		}
	}
	objects, err := c.group.objects(q)
	if err != nil {
		refuse(w, c.group.opt.RefusalStatus, err.Error())
		return
	}
	found := c.group.find(where, objects, q.DisplayColumns)
	c.stamp(w, r.faults) // IIS dates an answer when it begins to send it
	c.pause(r.Context(), r.faults.ReadThenWait)
	if c.send(w, r, found) != nil {
		return // the client has gone
	}
	c.count(func(n *Counters) { n.Rows += int64(len(found.rows)) })
	if a := w.(*answer); a.cut {
		return
	}
	c.group.markShown(found.rows)
	if conn, ok := r.Context().Value(connKey{}).(*connState); ok {
		conn.swap(found.rows)
	}
}

// parseQuery takes the object, or an array of one, which some scripts post.
func parseQuery(body []byte) (*alertQuery, error) {
	var list []alertQuery
	if b := bytes.TrimLeft(body, " \t\r\n"); len(b) == 0 || b[0] != '[' {
		list = make([]alertQuery, 1)
		if err := json.Unmarshal(body, &list[0]); err != nil {
			return nil, err
		}
	} else if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%d requests in one", len(list))
	}
	return &list[0], nil
}

// objects are the monitored objects a query is limited to; nil: any.
func (g *Group) objects(q *alertQuery) (map[string]bool, error) {
	var set map[string]bool
	if len(q.ObjectIDs) > 0 {
		set = map[string]bool{}
		for id := range q.ObjectIDs {
			if !validGUID(id) {
				return nil, fmt.Errorf("objectIds: %q is not a GUID", id)
			}
			set[strings.ToLower(id)] = true
		}
	}
	if q.GroupID == nil || *q.GroupID == "" || !g.atLeast("2022") {
		return set, nil
	}
	members, ok := g.opt.Groups[*q.GroupID]
	if !ok {
		return nil, fmt.Errorf("groupId: there is no group %q", *q.GroupID)
	}
	in := map[string]bool{}
	for _, id := range members {
		if id = strings.ToLower(id); set == nil || set[id] {
			in[id] = true
		}
	}
	return in, nil
}

// found is what the database's read gave: the versions are as of one instant.
type found struct {
	plan *plan
	rows []*version
	now  time.Time
}

// find reads the database: the rows come in no order, and some of them twice.
func (g *Group) find(where criteria, objects map[string]bool, asked []string) found {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := found{now: g.now(), plan: g.planFor(asked)}
	g.store.settle(f.now)
	for _, v := range g.candidates(where) {
		if v.live && where.match(&v.alert) && (objects == nil || objects[strings.ToLower(v.alert.ObjectID)]) && g.sees(&v.alert) {
			f.rows = append(f.rows, v)
		}
	}
	g.answers++
	r := rand.New(rand.NewPCG(g.opt.Seed, g.answers))
	if n := g.opt.DuplicateEvery; n > 0 {
		for range len(f.rows) / n {
			f.rows = append(f.rows, f.rows[r.IntN(len(f.rows))])
		}
	}
	r.Shuffle(len(f.rows), func(i, j int) { f.rows[i], f.rows[j] = f.rows[j], f.rows[i] })
	return f
}

// candidates are the versions among which the criteria can match.
func (g *Group) candidates(where criteria) []*version {
	if where.ids == nil {
		return g.store.since(where.from)
	}
	var list []*version
	seen := map[string]bool{}
	for _, id := range where.ids {
		if e := g.store.alerts[id]; e != nil && e.shown != nil && !seen[id] {
			seen[id] = true
			list = append(list, e.shown)
		}
	}
	return list
}

// chunk is how much of an answer is encoded before it is sent, so that a large one is never whole in memory.
const chunk = 128 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, chunk+32<<10); return &b }}

// send writes the answer as it encodes it.
func (c *Console) send(w http.ResponseWriter, r *request, f found) error {
	w.Header().Set("Content-Type", jsonType)
	body, end := c.compressed(w, r)
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	b := (*pooled)[:0]
	open, shut := "{", "}"
	if f.plan.shape.Wrapped {
		open, shut = "[{", "}]"
	}
	b = append(b, open...)
	if !f.plan.shape.RowsFirst {
		b = append(append(b, f.plan.table...), ',')
	}
	b = append(append(b, f.plan.rows...), '[')
	for i, v := range f.rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.group.appendRow(b, f, v)
		if len(b) < chunk {
			continue
		}
		if _, err := body.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	b = append(b, ']')
	if f.plan.shape.RowsFirst {
		b = append(append(b, ','), f.plan.table...)
	}
	b = append(b, shut...)
	if _, err := body.Write(b); err != nil {
		return err
	}
	return end()
}

// appendRow appends a version's row, once for each language, and keeps it for the next answer.
func (g *Group) appendRow(dst []byte, f found, v *version) []byte {
	if row := v.row.Load(); row != nil && row.plan == f.plan {
		return append(dst, row.json...)
	}
	start := len(dst)
	dst = f.plan.appendRow(dst, &v.alert, f.now)
	for n := 1; n < f.plan.shape.Languages; n++ {
		translated := v.alert
		translated.Name = fmt.Sprintf("[language %d] %s", n, v.alert.Name)
		dst = f.plan.appendRow(append(dst, ','), &translated, f.now)
	}
	if f.plan.aged || g.opt.CacheBytes < 0 {
		return dst
	}
	row := &encodedRow{plan: f.plan, json: bytes.Clone(dst[start:])}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.store.keep(v, row)
	return dst
}
