package state

import (
	"encoding/binary"
	"errors"
	"fmt"

	"scomconnector/poller/alert"
)

// ErrTooLarge is SplitCommit's: a single parked entry does not fit into a command. It helps to keep less
// of its payload.
var ErrTooLarge = errors.New("too large for a command")

// SplitCommit cuts c into pieces that each fit into a command under token, to be proposed in this
// order, each after the one before was accepted. Only the last piece carries Cursor, Start, Forget,
// Floor and the self-alerts: a crash between two pieces leaves some versions recorded and the
// cursor where it was, never the cursor past a version that nobody recorded. Parked entries come
// first, since they may be refused for want of room; then nothing of Sent or Handled has been recorded.
//
// Pieces already accepted stay when a later one is refused, and proposing c again is harmless: it
// counts nothing twice. The error is ErrTooLarge, or says what Encode would refuse.
func SplitCommit(token Token, c Commit) ([]Commit, error) {
	tail := c
	tail.Sent, tail.Handled, tail.Parked = nil, nil, nil
	head, err := EncodeTo(nil, Command{Token: token, Op: tail})
	if err != nil {
		return nil, fmt.Errorf("split commit: %w", err)
	}
	// The head of each piece is at most that of the last, with three lengths of up to three bytes.
	room := MaxCommand - len(head) - 3*binary.MaxVarintLen16
	s := splitter{pipeline: c.Pipeline, rewinds: c.Rewinds, room: room, left: room}
	for i := range c.Parked {
		if err := s.parked(&c.Parked[i]); err != nil {
			return nil, fmt.Errorf("split commit: %w", err)
		}
	}
	for _, v := range c.Sent {
		s.version(&s.piece.Sent, v)
	}
	s.prev = 0
	for _, v := range c.Handled {
		s.version(&s.piece.Handled, v)
	}
	tail.Parked, tail.Sent, tail.Handled = s.piece.Parked, s.piece.Sent, s.piece.Handled
	return append(s.done, tail), nil
}

// splitter fills one piece after the other.
type splitter struct {
	pipeline string
	rewinds  uint64
	room     int // bytes for the lists of one piece
	left     int // of piece
	piece    Commit
	prev     alert.Millis
	done     []Commit
	scratch  []byte
}

func (s *splitter) parked(p *Parked) error {
	s.scratch = appendParked(s.scratch[:0], p)
	if len(s.scratch) > s.room {
		return fmt.Errorf("parked alert %s has %d bytes, more than the %d there is room for: %w", p.Version.ID, len(s.scratch), s.room, ErrTooLarge)
	}
	if len(s.scratch) > s.left {
		s.next()
	}
	s.piece.Parked = append(s.piece.Parked, *p)
	s.left -= len(s.scratch)
	return nil
}

// version adds v to one of piece's lists.
func (s *splitter) version(list *[]alert.Version, v alert.Version) {
	s.scratch = appendVersion(s.scratch[:0], v, s.prev)
	if len(s.scratch) > s.left {
		s.next()
		s.scratch = appendVersion(s.scratch[:0], v, s.prev)
	}
	*list = append(*list, v)
	s.left -= len(s.scratch)
	s.prev = v.LastModified
}

func (s *splitter) next() {
	s.piece.Pipeline, s.piece.Rewinds = s.pipeline, s.rewinds
	s.done = append(s.done, s.piece)
	s.piece, s.left, s.prev = Commit{}, s.room, 0
}

// SplitSettle cuts s into pieces that each fit into a command under any token. Each settles what it names, whatever becomes of
// the others. Reasons are cut to what is kept of them.
func SplitSettle(s Settle) []Settle {
	room := MaxCommand - len(appendOp(appendToken([]byte{commandVersion, byte(kindSettle)}, longestToken), Settle{At: s.At})) - binary.MaxVarintLen16
	piece, left := Settle{At: s.At}, room
	var out []Settle
	var scratch []byte
	for _, x := range s.Settled {
		x.Reason = clipTo(x.Reason, maxReason)
		scratch = appendSettlement(scratch[:0], &x)
		if len(scratch) > left {
			out = append(out, piece)
			piece.Settled, left = nil, room
		}
		piece.Settled = append(piece.Settled, x)
		left -= len(scratch)
	}
	if len(piece.Settled) > 0 {
		out = append(out, piece)
	}
	return out
}
