package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"scomconnector/api"
	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// office is what an operator may do with leadership, through any node, a witness too. It is an api.Office.
type office struct{ *node }

// Maintain implements api.Office.
func (o office) Maintain(ctx context.Context, order v1.MaintenanceOrder, by string) (v1.Leadership, error) {
	id := cmp.Or(order.Node, o.opts.Node.NodeID)
	m, ok := member(o.coord.View(), id)
	if !ok {
		return v1.Leadership{}, fmt.Errorf("member %q: %w", id, api.ErrNotFound)
	}
	if m.Role == cluster.Witness {
		return v1.Leadership{}, refusal("name the Primary or the Secondary; a witness may be stopped at any time while the other two run",
			"%s is a witness, which never leads: maintenance changes nothing for it", id)
	}
	if order.Action == "leave" {
		return o.leave(ctx, id, by)
	}
	return o.enter(ctx, m, order, by)
}

// enter has the leader hand over first, and then the flag be set through the new one: the other way round a node in maintenance
// would lead for a moment.
func (o office) enter(ctx context.Context, m cluster.MemberView, order v1.MaintenanceOrder, by string) (v1.Leadership, error) {
	others := slices.DeleteFunc(o.workers(), func(id string) bool { return id == m.NodeID })
	if len(others) == 0 {
		return v1.Leadership{}, refusal("stop it when you must: nothing is delivered until it is back, and nothing is lost, since SCOM keeps the alerts",
			"this cluster has one node that can lead, so that nobody could take over from %s", m.NodeID)
	}
	for _, other := range others {
		if o.state().InMaintenance(other) {
			return v1.Leadership{}, bothInMaintenance(m.NodeID, other)
		}
	}
	v, err := o.awaitLeader(ctx)
	if err != nil {
		return v1.Leadership{}, err
	}
	if v.Leader == m.NodeID {
		to, err := o.successor(ctx, others, order.Force)
		if err != nil {
			return v1.Leadership{}, err
		}
		why := cluster.Reason{Cause: cluster.CauseMaintenance, Text: fmt.Sprintf("maintenance of %s, asked for by %s", m.NodeID, by)}
		if err := o.handOver(ctx, to, why); err != nil {
			return v1.Leadership{}, err
		}
	}
	res, err := o.coord.Propose(ctx, state.SetMaintenance{
		Node: m.NodeID, On: true, Sticky: order.Sticky, Start: m.Start, Unless: others, Author: by, At: time.Now().UTC(),
	})
	if errors.Is(res.Err, state.ErrMaintenance) {
		return v1.Leadership{}, bothInMaintenance(m.NodeID, others[0])
	}
	if err := proposed(res, err); err != nil {
		return v1.Leadership{}, err
	}
	// Leadership may have come to it meanwhile; it gives it away by itself then.
	o.await(ctx, func() bool { return o.state().InMaintenance(m.NodeID) && o.coord.View().Leader != m.NodeID })
	return o.leadership(), nil
}

func (o office) leave(ctx context.Context, id, by string) (v1.Leadership, error) {
	res, err := o.coord.Propose(ctx, state.SetMaintenance{Node: id, Author: by, At: time.Now().UTC()})
	if err := proposed(res, err); err != nil {
		return v1.Leadership{}, err
	}
	o.await(ctx, func() bool { return !o.state().InMaintenance(id) })
	return o.leadership(), nil
}

// Transfer implements api.Office.
func (o office) Transfer(ctx context.Context, order v1.TransferOrder, by string) (v1.Leadership, error) {
	v, err := o.awaitLeader(ctx)
	if err != nil {
		return v1.Leadership{}, err
	}
	others := []string{order.To}
	if order.To == "" {
		others = slices.DeleteFunc(o.workers(), func(id string) bool { return id == v.Leader })
	}
	if len(others) == 0 {
		return v1.Leadership{}, refusal("add a Secondary, so that the work can go on while this machine is away", "this cluster has one node that can lead")
	}
	if order.To == v.Leader {
		return o.leadership(), nil
	}
	to, err := o.successor(ctx, others, order.Force)
	if err != nil {
		return v1.Leadership{}, err
	}
	if err := o.handOver(ctx, to, cluster.Reason{Cause: cluster.CauseTransfer, Text: "asked for by " + by}); err != nil {
		return v1.Leadership{}, err
	}
	return o.leadership(), nil
}

// successor is the first of the nodes that is fit to lead and to work; force skips the work.
func (o office) successor(ctx context.Context, ids []string, force bool) (string, error) {
	var first error
	for _, id := range ids {
		err := o.unfit(id)
		if err == nil && !force {
			err = o.unable(ctx, id)
		}
		if err == nil {
			return id, nil
		}
		first = cmp.Or(first, err)
	}
	return "", first
}

// TakeOver implements api.Office.
func (o office) TakeOver(ctx context.Context, order v1.TakeoverOrder, by string) (v1.Leadership, error) {
	if id := o.leadingElsewhere(ctx); id != "" {
		return v1.Leadership{}, fmt.Errorf("%w: %s answers on its page's address that it leads", api.ErrLeaderAlive, id)
	}
	err := o.roster.TakeOver(ctx, by, order.Force)
	switch {
	case err == nil:
		return o.leadership(), nil
	case errors.Is(err, cluster.ErrLeaderAlive):
		return v1.Leadership{}, as(api.ErrLeaderAlive, err)
	case errors.Is(err, cluster.ErrWarned):
		return v1.Leadership{}, as(api.ErrWarned, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, cluster.ErrUnknownOutcome):
		return v1.Leadership{}, fmt.Errorf("%w: %w", api.ErrUnknownOutcome, err)
	}
	return v1.Leadership{}, refusal("the page /maintenance of this node says what is possible", "%w", err)
}

// leadingElsewhere is a member whose page says that it leads, although the nodes do not hear of each other.
func (o office) leadingElsewhere(ctx context.Context) string {
	for _, m := range o.opts.Node.Members {
		if m.NodeID == o.opts.Node.NodeID || m.Url == "" {
			continue
		}
		if code, _ := o.visit(ctx, m.Url+"/leader"); code == http.StatusOK {
			return m.NodeID
		}
	}
	return ""
}

// RemoveMember implements api.Office.
func (o office) RemoveMember(ctx context.Context, id, _ string) error {
	if _, ok := member(o.coord.View(), id); !ok {
		return fmt.Errorf("member %q: %w", id, api.ErrNotFound)
	}
	err := o.roster.Remove(ctx, id)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cluster.ErrNoLeader):
		return as(api.ErrNoLeader, err)
	case errors.Is(err, cluster.ErrUnknownOutcome), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", api.ErrUnknownOutcome, err)
	}
	do := "take it out of Members in every node.json, restart one node at a time, the leader last, then: scomconnector members remove " + id
	if o.opts.Node.Coordination == "etcd" {
		do = "nothing is to be removed from an etcd: whom no node.json names is no member"
	}
	return &api.Unfit{Err: keptMember{fmt.Errorf("%s was not removed: %w", id, err)}, Hint: do}
}

// keptMember is an api.ErrUnfit that speaks of no handover.
type keptMember struct{ error }

func (keptMember) Is(target error) bool { return target == api.ErrUnfit }

// leadership is who leads and who must not, as this node sees it.
func (n *node) leadership() v1.Leadership {
	return v1.Leadership{Leader: n.coord.View().Leader, Maintenance: n.inMaintenance()}
}

func (n *node) inMaintenance() []string {
	all := []string{}
	for _, m := range n.state().Maintenance() {
		all = append(all, m.Node)
	}
	return all
}

// workers are the members that may lead, the Primary first.
func (n *node) workers() []string {
	var all []string
	for _, m := range n.opts.Node.Members {
		switch m.Role {
		case cluster.Primary:
			all = slices.Insert(all, 0, m.NodeID)
		case cluster.Secondary:
			all = append(all, m.NodeID)
		}
	}
	return all
}

func member(v cluster.View, id string) (cluster.MemberView, bool) {
	for _, m := range v.Members {
		if m.NodeID == id {
			return m, true
		}
	}
	return cluster.MemberView{}, false
}

// electionTime is how long an order waits for an election that may be under way.
const electionTime = 3 * time.Second

// awaitLeader is the view once somebody leads.
func (n *node) awaitLeader(ctx context.Context) (cluster.View, error) {
	ctx, cancel := context.WithTimeout(ctx, electionTime)
	defer cancel()
	n.await(ctx, func() bool { v := n.coord.View(); return v.Leader != "" || v.Stall.Text != "" })
	v := n.coord.View()
	if v.Stall.Text != "" {
		return v, stalled(v.Stall)
	}
	if v.Leader != "" {
		return v, nil
	}
	if v.Outlook.Possible {
		return v, &api.Unfit{Err: api.ErrNoLeader, Hint: "nothing was changed; if the other node is gone for good, this one can take over: scomconnector takeover, or the page /maintenance"}
	}
	return v, api.ErrNoLeader
}

// await lets time pass until cond holds or ctx ends, for what the cluster has agreed on to be seen here, too.
func (n *node) await(ctx context.Context, cond func() bool) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// handOver has the other node lead, and returns once its first term has begun here, too.
func (n *node) handOver(ctx context.Context, to string, why cluster.Reason) error {
	err := n.coord.Transfer(ctx, to, why)
	if stall, is := errors.AsType[cluster.Stall](err); is {
		return stalled(stall)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cluster.ErrNoLeader):
		return as(api.ErrNoLeader, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, cluster.ErrUnknownOutcome):
		return fmt.Errorf("%w: %w", api.ErrUnknownOutcome, err)
	}
	return refusal("mend what the message names and try again; the leader goes on leading meanwhile", "%w", err)
}

// unfit says why the member cannot be handed leadership, as this node sees it, and what to do; force does not help. The leader
// judges anew.
func (n *node) unfit(id string) error {
	v := n.coord.View()
	m, ok := member(v, id)
	if !ok {
		return fmt.Errorf("member %q: %w", id, api.ErrNotFound)
	}
	anyway := fmt.Sprintf("; if %s must stop all the same, stop it: nothing is lost, and nothing is delivered until one of the two is back", v.Leader)
	if len(n.opts.Node.Members) == 2 && n.opts.Node.Coordination != "etcd" {
		anyway += fmt.Sprintf(" or the page /maintenance of %s has been told to take over", id)
	}
	switch {
	case v.Stall.Text != "":
		return stalled(v.Stall)
	case m.Role == cluster.Witness:
		return refusal("name the Primary or the Secondary", "%s is a witness, which never leads", id)
	case n.state().InMaintenance(id):
		return refusal("end that first: scomconnector maintenance leave "+id, "%s is in maintenance", id)
	case id != v.NodeID && !present(m):
		return refusal("start "+id+" or mend the network between the nodes"+anyway, "%s is out of contact%s", id, because(m.Fault))
	case !m.Candidate() && n.opts.Node.Coordination == "etcd":
		return refusal("mend the network between "+id+" and the etcd"+anyway, "%s does not reach the etcd", id)
	case !m.Candidate():
		return refusal("wait until it has one, which takes seconds once it is in contact"+anyway, "%s has no vote yet: it is new, or was away and is catching up", id)
	}
	return nil
}

// unable says why the member could not do the work if it led.
func (n *node) unable(ctx context.Context, id string) error {
	theirs, err := n.abilityOf(ctx, id)
	switch {
	case err != nil:
		return refusal("try again, or use force if "+id+" is known to reach SCOM and Moogsoft", "%s was asked whether it could do the work, and gave no answer: %w", id, err)
	case theirs.lacks() != "":
		return refusal("mend that, or use force: nothing is lost then, but nothing is delivered either until it is mended", "%s could not do the work: %s", id, theirs.lacks())
	}
	return nil
}

// abilityOf asks any member, this one too.
func (n *node) abilityOf(ctx context.Context, id string) (ability, error) {
	if id == n.opts.Node.NodeID {
		return n.ability(ctx), nil
	}
	return ask[ability](ctx, n, id, question{Ask: askWork})
}

func bothInMaintenance(id, other string) error {
	return refusal("end that first: scomconnector maintenance leave "+other,
		"%s is in maintenance already, and one of the two must be able to lead, so that %s cannot enter it, also with force", other, id)
}

// stalled refuses what would have to be committed.
func stalled(s cluster.Stall) error {
	return &api.Unfit{Err: fmt.Errorf("%w: %w", api.ErrStalled, s), Hint: s.Do}
}

func because(fault string) string {
	if fault == "" {
		return ""
	}
	return " (" + fault + ")"
}

// refusal refuses a handover, with what to do.
func refusal(hint, format string, args ...any) error {
	return &api.Unfit{Err: fmt.Errorf("%w: %w", api.ErrUnfit, fmt.Errorf(format, args...)), Hint: hint}
}

// plain is a refusal's text for those who asked for nothing.
func plain(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), api.ErrUnfit.Error()+": "), api.ErrStalled.Error()+": ")
}

// as makes an error of the cluster's one of the API's; its text stays as it is.
func as(sentinel, err error) error { return renamed{sentinel, err} }

type renamed struct{ as, err error }

func (r renamed) Error() string   { return r.err.Error() }
func (r renamed) Unwrap() []error { return []error{r.as, r.err} }
