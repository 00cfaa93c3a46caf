package raftnode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// checkBolt walks a bbolt file (format 2) without bbolt, which maps the file and faults or panics
// on a damaged one, and which believes any page but its two meta pages. Every page must be what its
// parent says, lie within the file, be used once, and be packed as bbolt packs it; every page that
// is not in use must be on the free list. So a lost, stale, foreign or shortened page is noticed.
// What stands inside a value is the caller's to check.
//
// A page that a power cut has torn is no false alarm: bbolt writes the data, syncs, and then writes
// the meta page, which is a fraction of one disk sector.
func checkBolt(r io.ReaderAt, size int64) error {
	w := boltWalk{r: r, size: size}
	if err := w.metas(); err != nil {
		return err
	}
	w.used = make([]bool, w.pages)
	w.used[0], w.used[1] = true, true
	if err := w.page(w.root, nil, nil, 0); err != nil {
		return err
	}
	if err := w.free(); err != nil {
		return err
	}
	for id, used := range w.used {
		if !used {
			return fmt.Errorf("page %d is neither used nor free", id)
		}
	}
	return nil
}

const (
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	boltHeader   = 16 // of a page
	boltElement  = 16 // of a branch or leaf page
	boltMetaSize = 64
	boltMaxDepth = 32 // a tree of that depth would not fit on any disk

	boltBranch   = 0x01
	boltLeaf     = 0x02
	boltMetaPage = 0x04
	boltFreelist = 0x10
	boltBucket   = 0x01 // of a leaf's element
)

type boltWalk struct {
	r        io.ReaderAt
	size     int64
	pageSize int64
	pages    uint64 // in use, free ones included
	root     uint64
	freelist uint64
	used     []bool
}

// metas reads both meta pages and keeps the newer one. Both must be whole: had only the newer one
// been damaged, the older one would silently take back the last commit.
func (w *boltWalk) metas() error {
	first, err := w.meta(0)
	if err != nil {
		return err
	}
	w.pageSize = int64(binary.NativeEndian.Uint32(first[8:]))
	if w.pageSize < 512 || w.pageSize > 1<<20 || w.pageSize&(w.pageSize-1) != 0 {
		return fmt.Errorf("a page size of %d is impossible", w.pageSize)
	}
	second, err := w.meta(w.pageSize)
	if err != nil {
		return err
	}
	m := first
	if binary.NativeEndian.Uint64(second[48:]) > binary.NativeEndian.Uint64(first[48:]) {
		m = second
	}
	w.root = binary.NativeEndian.Uint64(m[16:])
	w.freelist = binary.NativeEndian.Uint64(m[32:])
	w.pages = binary.NativeEndian.Uint64(m[40:])
	if w.pages < 4 || w.pages > uint64(w.size/w.pageSize) {
		return fmt.Errorf("it is cut off: %d pages of %d bytes are in use, but it has %d bytes", w.pages, w.pageSize, w.size)
	}
	return nil
}

func (w *boltWalk) meta(at int64) ([]byte, error) {
	buf := make([]byte, boltHeader+boltMetaSize)
	if _, err := w.r.ReadAt(buf, at); err != nil {
		return nil, fmt.Errorf("it is cut off: read its head at byte %d: %w", at, err)
	}
	m := buf[boltHeader:]
	sum := fnv.New64a()
	sum.Write(m[:boltMetaSize-8])
	ok := binary.NativeEndian.Uint16(buf[8:]) == boltMetaPage &&
		binary.NativeEndian.Uint32(m) == boltMagic &&
		binary.NativeEndian.Uint32(m[4:]) == boltVersion &&
		binary.NativeEndian.Uint64(m[boltMetaSize-8:]) == sum.Sum64()
	if !ok {
		return nil, fmt.Errorf("its head at byte %d is damaged", at)
	}
	return m, nil
}

// load reads page id with what overflows it, and marks it used.
func (w *boltWalk) load(id uint64) ([]byte, error) {
	if id < 2 || id >= w.pages {
		return nil, fmt.Errorf("page %d does not exist", id)
	}
	head := make([]byte, boltHeader)
	if _, err := w.r.ReadAt(head, int64(id)*w.pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	overflow := uint64(binary.NativeEndian.Uint32(head[12:]))
	if binary.NativeEndian.Uint64(head) != id || overflow >= w.pages-id {
		return nil, fmt.Errorf("page %d is damaged", id)
	}
	for i := id; i <= id+overflow; i++ {
		if w.used[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		w.used[i] = true
	}
	buf := make([]byte, int64(overflow+1)*w.pageSize)
	if _, err := w.r.ReadAt(buf, int64(id)*w.pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	return buf, nil
}

// page checks a page of a tree; its keys must lie in [low, high), where nil is no bound.
func (w *boltWalk) page(id uint64, low, high []byte, depth int) error {
	if depth > boltMaxDepth {
		return errors.New("its tree is too deep")
	}
	p, err := w.load(id)
	if err != nil {
		return err
	}
	if err := w.elements(p, low, high, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// element is one entry of a branch or leaf page.
type element struct {
	key, value []byte
	child      uint64
	bucket     bool
}

func (w *boltWalk) elements(p, low, high []byte, depth int) error {
	list, branch, err := boltElements(p)
	if err != nil {
		return err
	}
	for i, e := range list {
		upper := high
		if i+1 < len(list) {
			upper = list[i+1].key
		}
		// A branch's first key may stay above a smaller one that was put below it later.
		lower := e.key
		if i == 0 && branch {
			lower = low
		}
		if (!branch || i > 0) && low != nil && bytes.Compare(e.key, low) < 0 || upper != nil && bytes.Compare(e.key, upper) >= 0 {
			return errors.New("its keys are out of order")
		}
		switch {
		case branch:
			err = w.page(e.child, lower, upper, depth+1)
		case e.bucket:
			err = w.bucket(e.value, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket checks the tree whose root a leaf's value names, or which the value itself holds.
func (w *boltWalk) bucket(value []byte, depth int) error {
	if len(value) < 16 {
		return errors.New("a bucket is cut off")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return w.page(root, nil, nil, depth+1)
	}
	return w.elements(value[16:], nil, nil, depth+1)
}

// boltElements takes a page apart. bbolt writes the elements, then all keys and values without a gap
// in the same order, so each element's place follows from those before it.
func boltElements(p []byte) (list []element, branch bool, err error) {
	if len(p) < boltHeader {
		return nil, false, errors.New("it is cut off")
	}
	flags, count := binary.NativeEndian.Uint16(p[8:]), int(binary.NativeEndian.Uint16(p[10:]))
	if flags != boltBranch && flags != boltLeaf {
		return nil, false, errors.New("it is of another kind than its parent says")
	}
	branch = flags == boltBranch
	next := boltHeader + count*boltElement
	if next > len(p) || branch && count == 0 {
		return nil, false, errors.New("its number of entries is wrong")
	}
	for i := range count {
		at := boltHeader + i*boltElement
		raw := p[at : at+boltElement]
		var e element
		var pos, ksize, vsize int
		if branch {
			pos, ksize = int(binary.NativeEndian.Uint32(raw)), int(binary.NativeEndian.Uint32(raw[4:]))
			e.child = binary.NativeEndian.Uint64(raw[8:])
		} else {
			kind := binary.NativeEndian.Uint32(raw)
			pos, ksize = int(binary.NativeEndian.Uint32(raw[4:])), int(binary.NativeEndian.Uint32(raw[8:]))
			vsize = int(binary.NativeEndian.Uint32(raw[12:]))
			e.bucket = kind == boltBucket
			if kind > boltBucket {
				return nil, false, errors.New("it has an entry of an unknown kind")
			}
		}
		if at+pos != next || ksize == 0 || ksize > len(p)-next || vsize > len(p)-next-ksize {
			return nil, false, errors.New("its entries are not where they must be")
		}
		e.key, e.value = p[next:next+ksize], p[next+ksize:next+ksize+vsize]
		next += ksize + vsize
		list = append(list, e)
	}
	return list, branch, nil
}

// free marks the pages of the free list, and the list's own.
func (w *boltWalk) free() error {
	p, err := w.load(w.freelist)
	if err != nil {
		return err
	}
	if binary.NativeEndian.Uint16(p[8:]) != boltFreelist {
		return errors.New("its free list is damaged")
	}
	n, ids := uint64(binary.NativeEndian.Uint16(p[10:])), p[boltHeader:]
	if n == 0xFFFF { // more than fit into the field: the first id is the number
		n, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		return errors.New("its free list is cut off")
	}
	for i := range n {
		id := binary.NativeEndian.Uint64(ids[8*i:])
		if id >= w.pages || w.used[id] {
			return fmt.Errorf("page %d is both used and free", id)
		}
		w.used[id] = true
	}
	return nil
}
