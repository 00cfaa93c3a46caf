package state

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"scomconnector/poller/alert"
)

var (
	errMagic  = errors.New("it is no snapshot of this program")
	errSum    = errors.New("its checksum is wrong")
	errRecord = errors.New("a record is not where it belongs")
)

// Restore replaces the whole state by what Snapshot.WriteTo wrote, or leaves it as it is and says
// why. It reads r to its end. ErrUnknownCommand: a newer program wrote it.
func (s *State) Restore(r io.Reader) error {
	d, err := readSnapshot(r)
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	s.mu.Lock()
	s.data = d
	s.outboxMoved()
	s.rewound()
	s.mu.Unlock()
	return nil
}

func readSnapshot(r io.Reader) (data, error) {
	in := &recordReader{r: bufio.NewReaderSize(r, 64<<10)}
	if err := in.header(); err != nil {
		return data{}, err
	}
	d, err := in.state()
	if err != nil {
		return data{}, err
	}
	return d, in.end()
}

// state reads everything between header and checksum.
func (in *recordReader) state() (data, error) {
	d := newData()
	r, err := in.record(recordMeta)
	if err != nil {
		return d, err
	}
	d.token = r.token()
	d.leader, d.clusterID, d.group = r.string(), r.string(), r.string()
	d.retired = Totals{Accepted: r.uvarint(), Parked: r.uvarint()}
	changes, flags, notes := r.uvarint(), r.uvarint(), r.uvarint()
	configs := r.uvarint()
	logons := uint64(0)
	if in.version > 1 {
		logons = r.uvarint()
	}
	requests, refused, settled := r.uvarint(), r.uvarint(), r.uvarint()
	pipes := r.uvarint()
	if err := r.end(); err != nil {
		return d, err
	}
	if changes > maxChanges || flags > maxMaintenance || notes > maxNotes || configs > maxConfigVersions || pipes > MaxPipelines ||
		logons > maxLogons || requests > MaxOutbox || refused > MaxParked || settled > MaxSettled {
		return d, errLimit
	}
	for range changes {
		if err := in.change(&d); err != nil {
			return d, err
		}
	}
	for range flags {
		if err := in.flag(&d); err != nil {
			return d, err
		}
	}
	for range notes {
		if err := in.note(&d); err != nil {
			return d, err
		}
	}
	for range configs {
		if err := in.config(&d); err != nil {
			return d, err
		}
	}
	for range logons {
		if err := in.logon(&d); err != nil {
			return d, err
		}
	}
	if err := in.outbox(&d.outbox, int(requests), int(refused), int(settled)); err != nil {
		return d, err
	}
	last := ""
	for range pipes {
		name, p, err := in.pipeline()
		if err != nil {
			return d, err
		}
		if name <= last {
			return d, errOrder
		}
		d.pipes[name], last = p, name
	}
	return d, nil
}

func (in *recordReader) change(d *data) error {
	r, err := in.record(recordChange)
	if err != nil {
		return err
	}
	d.changes = append(d.changes, r.change())
	return r.end()
}

func (in *recordReader) flag(d *data) error {
	r, err := in.record(recordFlag)
	if err != nil {
		return err
	}
	m := r.flag()
	if n := len(d.flags); n > 0 && m.Node <= d.flags[n-1].Node {
		return errOrder
	}
	d.flags = append(d.flags, m)
	return r.end()
}

func (in *recordReader) note(d *data) error {
	r, err := in.record(recordNote)
	if err != nil {
		return err
	}
	d.notes = append(d.notes, r.note())
	return r.end()
}

func (in *recordReader) config(d *data) error {
	r, err := in.record(recordConfig)
	if err != nil {
		return err
	}
	c := ConfigVersion{Version: r.uvarint(), Text: r.bytes(), Author: r.string(), At: r.time()}
	if n := len(d.configs); n > 0 && c.Version != d.configs[n-1].Version+1 {
		return errOrder
	}
	d.configs = append(d.configs, c)
	return r.end()
}

func (in *recordReader) pipeline() (string, *pipeline, error) {
	r, err := in.record(recordPipe)
	if err != nil {
		return "", nil, err
	}
	p := newPipeline()
	name := r.string()
	p.started, p.cursor, p.floor = r.bool(), r.millis(), r.millis()
	if in.version > 1 {
		p.rewinds = r.uvarint()
	}
	p.accepted, p.parkedEver = r.uvarint(), r.uvarint()
	p.raised, p.removedAt = r.strings(), r.time()
	versions, parked := r.uvarint(), r.uvarint()
	if err := r.end(); err != nil {
		return "", nil, err
	}
	if versions > MaxRemembered || parked > MaxParked || len(p.raised) > maxKinds {
		return "", nil, errLimit
	}
	for i := 1; i < len(p.raised); i++ {
		if p.raised[i] <= p.raised[i-1] {
			return "", nil, errOrder
		}
	}
	if err := in.versions(&p.delivered, int(versions)); err != nil {
		return "", nil, err
	}
	return name, p, in.parked(p, int(parked))
}

func (in *recordReader) versions(d *delivered, n int) error {
	last := -1
	var lastID alert.ID
	for d.n < n {
		r, err := in.record(recordVersions)
		if err != nil {
			return err
		}
		var prev alert.Millis
		for range min(chunk, n-d.n) {
			v := r.version(prev)
			s := shardOf(v.ID)
			if int(s) < last || (int(s) == last && compareIDs(v.ID, lastID) <= 0) {
				r.fail(errOrder)
			}
			if r.err != nil {
				return r.err
			}
			d.put(v)
			last, lastID, prev = int(s), v.ID, v.LastModified
		}
		if err := r.end(); err != nil {
			return err
		}
	}
	return nil
}

func (in *recordReader) parked(p *pipeline, n int) error {
	var last alert.ID
	for i := range n {
		r, err := in.record(recordParked)
		if err != nil {
			return err
		}
		e := r.parked()
		if err := r.end(); err != nil {
			return err
		}
		if i > 0 && compareIDs(e.Key, last) <= 0 {
			return errOrder
		}
		last = e.Key
		p.parked[e.Key] = &e
		p.parkedBytes += e.size()
	}
	if p.parkedBytes > MaxParkedBytes {
		return errLimit
	}
	return nil
}

// recordReader reads one record at a time and sums them up.
type recordReader struct {
	r       *bufio.Reader
	version byte // of the format
	sum     uint32
	buf     []byte
}

func (in *recordReader) header() error {
	head := make([]byte, len(snapshotMagic)+1)
	if err := in.read(head); err != nil {
		return err
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return errMagic
	}
	in.version = head[len(snapshotMagic)]
	if in.version < 1 || in.version > snapshotVersion {
		return fmt.Errorf("version %d: %w", in.version, ErrUnknownCommand)
	}
	return nil
}

// record reads the next record, which must be of this kind. Its body is valid until the next call.
func (in *recordReader) record(kind byte) (*reader, error) {
	size, err := in.length()
	if err != nil {
		return nil, err
	}
	if size > maxRecord {
		return nil, errLimit
	}
	if cap(in.buf) < int(size)+1 {
		in.buf = make([]byte, size+1)
	}
	b := in.buf[:size+1]
	if err := in.read(b); err != nil {
		return nil, err
	}
	if b[0] != kind {
		return nil, errRecord
	}
	return &reader{b: b[1:]}, nil
}

func (in *recordReader) length() (uint64, error) {
	var b [4]byte // enough for maxRecord
	for i := range b {
		if err := in.read(b[i : i+1]); err != nil {
			return 0, err
		}
		if b[i] < 0x80 {
			r := reader{b: b[:i+1]}
			n := r.uvarint()
			return n, r.err
		}
	}
	return 0, errNumber
}

func (in *recordReader) read(b []byte) error {
	if _, err := io.ReadFull(in.r, b); err != nil {
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return errShort
		}
		return err
	}
	in.sum = crc32.Update(in.sum, castagnoli, b)
	return nil
}

// end reads the checksum, and then nothing may follow.
func (in *recordReader) end() error {
	want := in.sum
	r, err := in.record(recordSum)
	if err != nil {
		return err
	}
	sum := r.raw(4)
	if err := r.end(); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(sum) != want {
		return errSum
	}
	if _, err := in.r.ReadByte(); err != io.EOF {
		if err == nil {
			err = errTrailing
		}
		return err
	}
	return nil
}
