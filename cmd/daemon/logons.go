package daemon

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/poller"
	"scomconnector/poller/scom"
)

// logonBook is the node's scom.LogonBook: what stands against a log-on stands in the replicated state, so that neither a restart nor
// another leader tries again what was refused a minute ago.
type logonBook struct {
	*node

	mu     sync.Mutex // guards what follows
	prints map[scom.Secret]uint16
	alone  bool // a member of an older version cannot be told
}

func newLogonBook(n *node) *logonBook {
	return &logonBook{node: n, prints: map[scom.Secret]uint16{}}
}

// print is what the state keeps of a secret: enough to see that it has changed. Slow, and of 16 bits, so that it helps nobody who
// has a copy of the state to guess a password.
func (b *logonBook) print(s scom.Secret) uint16 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p, ok := b.prints[s]; ok {
		return p
	}
	const rounds = 20_000
	key, err := pbkdf2.Key(sha256.New, string(s[:]), []byte("scomconnector log-on "+b.state().ClusterID()), rounds, 2)
	if err != nil {
		panic(err) // only for lengths that we do not ask for
	}
	if len(b.prints) >= 1000 { // secrets change seldom
		clear(b.prints)
	}
	b.prints[s] = binary.BigEndian.Uint16(key)
	return b.prints[s]
}

func (b *logonBook) Stands(account string, s scom.Secret) scom.Refused {
	l, ok := b.state().Logon(clipName(account), b.print(s))
	if !ok {
		return scom.Refused{}
	}
	r := scom.Refused{At: l.At, Until: l.Until, Number: int(l.Refused), Reason: l.Reason, Console: l.Console}
	if l.Refused == 0 && l.Until.After(time.Now()) {
		r.Number, r.Reason, r.NoVerdict = 1, scom.NoVerdict, true
	}
	return r
}

func (b *logonBook) Begin(ctx context.Context, account string, s scom.Secret, now time.Time, pause time.Duration) (scom.Refused, error) {
	before := b.Stands(account, s)
	if before.Until.After(now) {
		return before, nil
	}
	err := b.note(ctx, state.NoteLogon{Account: account, Secret: b.print(s), Event: state.LogonBegun, At: now.UTC(), Until: now.Add(pause).UTC()})
	switch {
	case errors.Is(err, state.ErrStale):
		return b.Stands(account, s), err // if it is not seen here yet, the error says to try again
	case errors.Is(err, cluster.ErrOldMember):
		b.mu.Lock()
		told := b.alone
		b.alone = true
		b.mu.Unlock()
		if !told {
			b.log.Warn("refused log-ons to SCOM are not shared with the other nodes until all have been upgraded", "reason", err)
		}
		return before, nil
	}
	return before, err
}

func (b *logonBook) Refuse(ctx context.Context, account string, s scom.Secret, r scom.Refused) error {
	return b.note(ctx, state.NoteLogon{Account: account, Secret: b.print(s), Event: state.LogonRefused, At: r.At.UTC(), Until: r.Until.UTC(), Reason: r.Reason, Console: clipName(r.Console)})
}

func (b *logonBook) Accept(ctx context.Context, account string, s scom.Secret) {
	if _, stands := b.state().Logon(clipName(account), b.print(s)); !stands {
		return
	}
	err := b.note(ctx, state.NoteLogon{Account: account, Secret: b.print(s), Event: state.LogonAccepted, At: time.Now().UTC()})
	if err != nil { // it costs the next leader nothing but a look
		b.log.Debug("an accepted log-on was not noted", "error", err)
	}
}

func (b *logonBook) Unjudged(ctx context.Context, account string, s scom.Secret) {
	err := b.note(ctx, state.NoteLogon{Account: account, Secret: b.print(s), Event: state.LogonUnjudged, At: time.Now().UTC()})
	if err != nil { // it costs a pause at worst
		b.log.Debug("a log-on that nobody judged was not noted", "error", err)
	}
}

func (b *logonBook) note(ctx context.Context, op state.NoteLogon) error {
	op.Account, op.Node = clipName(op.Account), b.opts.Node.NodeID
	res, err := b.coord.Propose(ctx, op)
	if err != nil {
		return err
	}
	return res.Err
}

func clipName(s string) string {
	if len(s) > state.MaxName {
		return strings.ToValidUTF8(s[:state.MaxName], "")
	}
	return s
}

// kindLogon is part of the signature of the self-alert.
const kindLogon = "scom-logon"

// refusedLogons are the accounts of the settings in use that SCOM refuses, as the leader knows.
func (n *node) refusedLogons() []scom.RefusedAccount {
	n.mu.Lock()
	f := n.feed
	n.mu.Unlock()
	if f == nil {
		return nil
	}
	return f.scom.RefusedAccounts()
}

// alarms are the self-alerts that are not a pipeline's own.
func (n *node) alarms(pipeline string) []poller.Alarm {
	return append(n.certificateAlarms(pipeline), n.logonAlarm())
}

// logonAlarm tells Moogsoft of refused log-ons at once: it is one person's work to mend that, and others cannot.
func (n *node) logonAlarm() poller.Alarm {
	refused := n.refusedLogons()
	a := poller.Alarm{Kind: kindLogon, Raised: len(refused) > 0, Cleared: "SCOM accepts the log-on again."}
	var all []string
	for _, r := range refused {
		all = append(all, aboutLogon(r))
	}
	do := doAboutLogon
	if !slices.ContainsFunc(refused, func(r scom.RefusedAccount) bool { return !r.NoVerdict }) {
		do = doWithoutVerdict
	}
	a.Text = strings.Join(all, " ") + " What to do: " + do + "."
	return a
}

const doAboutLogon = "correct Domain, UserId or Password (tried at once), or unlock the account"

const doWithoutVerdict = "look at the web console: IIS, its application pool, and the SDK service of its management server"

func aboutLogon(r scom.RefusedAccount) string {
	if r.NoVerdict {
		return fmt.Sprintf("SCOM gave no verdict on the last two log-ons of %s; no node tries before %s, "+scom.LeftAlone+".", r.Account, r.Until.UTC().Format("15:04:05 UTC"))
	}
	return fmt.Sprintf("SCOM refuses the log-on of %s at %s (%s). It was tried %s; no node tries before %s, "+scom.LeftAlone+".",
		r.Account, r.Console, r.Reason, times(r.Number), r.Until.UTC().Format("15:04:05 UTC"))
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// logonFindings: where SCOM is away for it, that is said with the outage; else another account or a connection that is logged on
// already goes on.
func logonFindings(refused []scom.RefusedAccount) []finding {
	var out []finding
	for _, r := range refused {
		f := finding{level: v1.Degraded, cause: "logon " + r.Account, area: areaSCOM, tries: r.Number, over: "SCOM accepts the log-on of " + r.Account + " again", do: doAboutLogon}
		f.text = fmt.Sprintf("SCOM refuses the log-on of %s at %s (%s); next try %s.", r.Account, r.Console, r.Brief(), r.Until.UTC().Format("15:04 UTC"))
		if r.NoVerdict {
			f.text, f.do = fmt.Sprintf("SCOM gave no verdict on the last two log-ons of %s; next try %s.", r.Account, r.Until.UTC().Format("15:04 UTC")), doWithoutVerdict
		}
		out = append(out, f)
	}
	return out
}
