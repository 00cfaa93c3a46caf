package daemon

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"scomconnector/api"
	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/cmd/settings"
	"scomconnector/poller/alert"
)

// catchUp is how long this node may take to see what the cluster has agreed on already.
const catchUp = 3 * time.Second

// applier lets an operator see and change the settings through any node, a witness too. It is an api.Settings.
//
// A new text is checked by every node in contact before it is used, and on Primary and Secondary also what it points to there:
// secrets and certificates. Who was away when it was applied and cannot read a secret's file says so once it leads.
type applier struct{ *node }

// Version implements api.Settings.
func (a applier) Version(n uint64) (v1.Settings, error) {
	c, err := a.version(n)
	if err != nil {
		return v1.Settings{}, err
	}
	return v1.Settings{Version: c.Version, Author: c.Author, At: c.At, Text: string(settings.Masked(c.Text))}, nil
}

// version is one that is kept; 0 is the one in use.
func (a applier) version(n uint64) (state.ConfigVersion, error) {
	all := a.state().ConfigHistory()
	if len(all) == 0 {
		return state.ConfigVersion{}, fmt.Errorf("the cluster has no settings yet: %w", api.ErrNotFound)
	}
	if n == 0 {
		return all[0], nil
	}
	for _, c := range all {
		if c.Version == n {
			return c, nil
		}
	}
	if len(all) == 1 {
		return state.ConfigVersion{}, fmt.Errorf("version %d of the settings: %w; only version %d is kept", n, api.ErrNotFound, all[0].Version)
	}
	return state.ConfigVersion{}, fmt.Errorf("version %d of the settings: %w; versions %d to %d are kept", n, api.ErrNotFound, all[len(all)-1].Version, all[0].Version)
}

// Versions implements api.Settings.
func (a applier) Versions() []v1.SettingsVersion {
	var out []v1.SettingsVersion
	for _, c := range a.state().ConfigHistory() {
		out = append(out, v1.SettingsVersion{Version: c.Version, Author: c.Author, At: c.At})
	}
	return out
}

// Apply implements api.Settings.
func (a applier) Apply(ctx context.Context, c api.Change) (api.Applied, error) {
	a.awaitVersion(ctx, c.Expect)
	current := a.state().Config()
	from := current
	if c.From != 0 {
		var err error
		if from, err = a.version(c.From); err != nil {
			return api.Applied{}, err
		}
	}
	text := settings.Unmasked(c.Text, from.Text)
	if current.Version > 0 && bytes.Equal(text, current.Text) {
		return api.Applied{Version: current.Version}, nil
	}
	if current.Version != c.Expect {
		return api.Applied{}, stale(current.Version, c.Expect)
	}
	unchecked, err := a.agreed(ctx, text)
	if err != nil {
		return api.Applied{}, err
	}
	res, err := a.coord.Propose(ctx, state.SetConfig{Expect: c.Expect, Text: text, Author: c.Author, At: time.Now().UTC()})
	if errors.Is(res.Err, state.ErrStale) { // this node did not know yet
		return api.Applied{}, stale(res.Version, c.Expect)
	}
	if err = proposed(res, err); err != nil {
		return api.Applied{}, err
	}
	a.awaitVersion(ctx, res.Version)
	return api.Applied{Version: res.Version, Changed: changedKeys(current.Text, text), Unchecked: unchecked}, nil
}

func stale(current, expected uint64) error {
	return fmt.Errorf("%w: version %d is in use, not %d", api.ErrStale, current, expected)
}

// awaitVersion gives this node time to learn of a version that the client knows already, from another node or from the
// answer to a proposal: a follower applies a little later than the leader.
func (a applier) awaitVersion(ctx context.Context, version uint64) {
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	a.await(ctx, func() bool { return a.state().Config().Version >= version })
}

func changedKeys(old, text []byte) []string {
	d, err := settings.Diff(old, text)
	if err != nil || len(d.Changes) == 0 {
		return []string{"comments and layout"} // both texts were parsed before
	}
	return d.Keys()
}

// proposed puts a proposal's outcome into the API's errors.
func proposed(res state.Result, err error) error {
	err = cmp.Or(err, res.Err)
	if stall, is := errors.AsType[cluster.Stall](err); is {
		return stalled(stall)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cluster.ErrNoLeader):
		return fmt.Errorf("%w: %w", api.ErrNoLeader, err)
	case errors.Is(err, cluster.ErrUnknownOutcome):
		return fmt.Errorf("%w: %w", api.ErrUnknownOutcome, err)
	case errors.Is(err, state.ErrUnknown):
		return api.ErrNotFound
	}
	return err
}

// names are the hosts by which others know this cluster's nodes.
func (n *node) names() []string {
	links := []string{n.opts.Node.AdvertiseUrl}
	for _, m := range n.opts.Node.Members {
		links = append(links, m.Url)
	}
	if v := n.state().Config().Version; v > 0 {
		if cfg, err := n.settingsOf(v); err == nil { // else the names of node.json have to do
			links = append(links, cfg.ConnectorUrl)
		}
	}
	var hosts []string
	for _, l := range links {
		if u, err := url.Parse(l); err == nil && u.Hostname() != "" {
			hosts = append(hosts, u.Hostname())
		}
	}
	return hosts
}

// shelf is the parked entries of all pipelines, also of removed ones that are still kept. It is an api.Parked.
type shelf struct{ *node }

// List implements api.Parked.
func (s shelf) List() []v1.ParkedEntry { return parkedEntries(s.state()) }

// parkedEntries lists what is parked anywhere, newest first.
func parkedEntries(st *state.State) []v1.ParkedEntry {
	out := []v1.ParkedEntry{}
	for _, p := range st.Pipelines() {
		for _, e := range st.ParkedList(p.Name) {
			out = append(out, parkedEntry(p.Name, e))
		}
	}
	slices.SortStableFunc(out, func(a, b v1.ParkedEntry) int { return b.At.Compare(a.At) })
	return out
}

// Entry implements api.Parked.
func (s shelf) Entry(pipeline, key string) (v1.ParkedPayload, error) {
	id, err := parkedKey(key)
	if err != nil {
		return v1.ParkedPayload{}, err
	}
	for _, e := range s.state().ParkedList(pipeline) {
		if e.Key != id {
			continue
		}
		payload, err := inflate(e.Payload)
		if err != nil {
			return v1.ParkedPayload{}, fmt.Errorf("unpack what was parked: %w", err)
		}
		return v1.ParkedPayload{Entry: parkedEntry(pipeline, e), Payload: strings.ToValidUTF8(string(payload), "\uFFFD")}, nil
	}
	return v1.ParkedPayload{}, notParked(pipeline, key)
}

// Remove implements api.Parked.
func (s shelf) Remove(ctx context.Context, pipeline, key string) error {
	id, err := parkedKey(key)
	if err != nil {
		return err
	}
	if len(pipeline) > state.MaxName {
		return notParked(pipeline[:state.MaxName], key)
	}
	res, err := s.coord.Propose(ctx, state.Unpark{Pipeline: pipeline, Keys: []alert.ID{id}})
	if err = proposed(res, err); errors.Is(err, api.ErrNotFound) {
		return notParked(pipeline, key)
	} else if err != nil {
		return err
	}
	s.awaitRemoved(ctx, pipeline, id)
	return nil
}

// awaitRemoved lets this node learn what the cluster has agreed on, so that who lists next does not see the entry.
func (s shelf) awaitRemoved(ctx context.Context, pipeline string, id alert.ID) {
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	s.await(ctx, func() bool { return !s.state().HasParked(pipeline, id) })
}

func parkedKey(key string) (alert.ID, error) {
	id, err := alert.ParseID(key)
	if err != nil {
		return id, fmt.Errorf("%w: the key of a parked entry is a GUID: %w", api.ErrNotFound, err)
	}
	return id, nil
}

func notParked(pipeline, key string) error {
	return fmt.Errorf("parked entry %s of pipeline %q: %w", key, pipeline, api.ErrNotFound)
}

// confirmVanished is the operator's word that alerts which SCOM does not show any more are gone. It is the running pipelines'
// business and is not replicated: after a change of leadership the new leader counts and asks again.
func (n *node) confirmVanished() (int, error) {
	n.mu.Lock()
	running := n.running
	n.mu.Unlock()
	if len(running) == 0 {
		return 0, fmt.Errorf("%w; %s leads", api.ErrElsewhere, cmp.Or(n.coord.View().Leader, "nobody"))
	}
	held := 0
	for _, p := range running {
		held += p.Status().Vanished
		p.ConfirmVanished()
	}
	return held, nil
}
