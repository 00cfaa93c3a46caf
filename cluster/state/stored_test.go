package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// byParts is what a node makes of a history that learns of nothing but the parts that have changed.
type byParts struct {
	t *testing.T
	s *State
}

// follow installs what a command has changed in from.
func (b byParts) follow(from *State, c Command, parts Parts) {
	b.t.Helper()
	for _, p := range parts {
		switch p.Kind {
		case PartDelta:
			if err := b.s.InstallDelta(p.Pipeline, Delta(c.Op.(Commit))); err != nil {
				b.t.Fatal(err)
			}
		case PartBase:
			b.base(from, p.Pipeline)
		default:
			st := from.Stored(p)
			if back, err := ParsePart(p.String()); err != nil || back != p {
				b.t.Fatalf("%q reads back as %v, %v", p, back, err)
			}
			if st.Content != nil && p.Kind == PartParked {
				if _, known := b.s.Pipeline(p.Pipeline); !known {
					continue // comes with the base
				}
			}
			if err := b.s.Install(st); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

// base puts in the whole of a pipeline.
func (b byParts) base(from *State, name string) {
	b.t.Helper()
	b.s.Drop(name)
	if _, known := from.Pipeline(name); !known {
		return
	}
	list := []Stored{from.Stored(Part{Kind: PartPipe, Pipeline: name})}
	for _, e := range from.ParkedList(name) {
		list = append(list, from.Stored(Part{Kind: PartParked, Pipeline: name, Key: e.Key}))
	}
	if err := b.s.Install(list...); err != nil {
		b.t.Fatal(err)
	}
	for shard := range Shards {
		if content := from.Shard(name, uint8(shard)); content != nil {
			if err := b.s.InstallShard(name, content); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

func TestPartsAloneMakeTheSameState(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := &history{Rand: rand.New(rand.NewPCG(seed, 1)), now: ms0}
			s, b := New(), byParts{t, New()}
			for i := range 1500 {
				c := h.command()
				_, parts := s.apply(0, c)
				b.follow(s, c, parts)
				if i%100 == 0 && !bytes.Equal(snapshotBytes(t, s), snapshotBytes(t, b.s)) {
					t.Fatalf("after command %d, %+v, the copy made of parts is another state", i, c)
				}
			}
			want := snapshotBytes(t, s)
			if got := snapshotBytes(t, b.s); !bytes.Equal(got, want) {
				t.Fatal("the copy made of parts is another state")
			}
			clone, err := s.Clone()
			if err != nil {
				t.Fatal(err)
			}
			if got := snapshotBytes(t, clone); !bytes.Equal(got, want) {
				t.Fatal("the clone is another state")
			}
		})
	}
}

func TestDeltasMayBePutInAgain(t *testing.T) {
	h := &history{Rand: rand.New(rand.NewPCG(7, 7)), now: ms0}
	s, b := New(), byParts{t, New()}
	var deltas [][]byte
	for len(deltas) < 300 {
		c := h.command()
		if _, ok := c.Op.(TermStart); ok {
			s.apply(0, c)
			continue
		}
		op, ok := c.Op.(Commit)
		if !ok {
			continue
		}
		op.Pipeline = "alerts"
		c.Op = op
		_, parts := s.apply(0, c)
		b.follow(s, c, parts)
		if slices.Contains(parts, Part{Kind: PartDelta, Pipeline: "alerts"}) {
			deltas = append(deltas, Delta(op))
		}
	}
	want := snapshotBytes(t, b.s)
	for _, d := range deltas { // as after a fold of which the deltas were not taken away
		if err := b.s.InstallDelta("alerts", d); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(snapshotBytes(t, b.s), want) {
		t.Error("deltas over a base that has them change it")
	}
}

func TestRequestsAreOrderedWhereverTheyAreLearnedOfFirst(t *testing.T) {
	a, b := New(), New()
	var parts []Stored
	for i := range 200 {
		st := StoredRequest(request(i))
		st.Order = uint64(100 + i/3) // three of one revision
		parts = append(parts, st)
	}
	for i := range parts {
		if err := a.Install(parts[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(parts)) {
		if err := b.Install(parts[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(snapshotBytes(t, a), snapshotBytes(t, b)) {
		t.Error("two orders of learning make two orders of doing")
	}
	var again State
	again.data = newData()
	if err := again.Restore(bytes.NewReader(snapshotBytes(t, b))); err != nil {
		t.Errorf("a snapshot with several of one revision: %v", err)
	}
}

func TestPartsOfANewerProgramAreNamed(t *testing.T) {
	for _, path := range []string{"hologram", "hologram/7", "meta/1", "pipe"} {
		if _, err := ParsePart(path); !errors.Is(err, ErrUnknownCommand) {
			t.Errorf("%q: got %v, want ErrUnknownCommand", path, err)
		}
	}
	for _, path := range []string{"config/x", "parked/a/b", "parked/a", "pipe/"} {
		if _, err := ParsePart(path); err == nil {
			t.Errorf("%q: got no error", path)
		}
	}
}

func FuzzInstall(f *testing.F) {
	s := New()
	h := &history{Rand: rand.New(rand.NewPCG(3, 3)), now: ms0}
	for range 300 {
		s.apply(0, h.command())
	}
	for _, p := range s.StoredParts() {
		f.Add(p.String(), s.Stored(p).Content)
	}
	f.Fuzz(func(t *testing.T, path string, content []byte) {
		p, err := ParsePart(path)
		if err != nil || content == nil {
			return
		}
		s := New()
		if err := s.Install(Stored{Part: p, Content: content, Order: 1}); err != nil {
			return
		}
		if got := s.Stored(p); !bytes.Equal(got.Content, content) {
			t.Errorf("%s: %x reads back as %x", path, content, got.Content)
		}
	})
}
