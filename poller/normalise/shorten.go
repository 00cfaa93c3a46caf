package normalise

import (
	"slices"

	"scomconnector/poller/alert"
)

// ellipsis ends a text that was cut, for those who see it without custom_info.
const ellipsis = "…"

// piece is a text that may be cut.
type piece struct {
	name string
	text *string
}

// shortenRounds is enough: the first cut is exact but for the names it adds to truncated, and each later
// one pays for the names of the one before.
const shortenRounds = 8

// shorten appends e with its longest texts cut to one common length, so that it fits; what is shorter
// than that is left alone. The identity (signature, external_id) is never cut: a close must find its alert.
func (n *Normaliser) shorten(dst []byte, size int, e event, a *alert.Alert) ([]byte, bool) {
	start := len(dst)
	if e.tail != "" {
		if e.text[description] != "" {
			e.text[description] += ": "
		}
		e.text[description] += e.tail
		e.tail = ""
	}
	pieces := e.pieces()
	for range shortenRounds {
		limit, ok := commonLength(pieces, size-n.cfg.MaxEventBytes)
		if !ok {
			break
		}
		for _, p := range pieces {
			if escapedLen(*p.text) <= limit {
				continue
			}
			*p.text = clip(*p.text, limit)
			if !slices.Contains(e.truncated, p.name) {
				e.truncated = append(e.truncated, p.name)
			}
		}
		dst = n.encode(dst[:start], &e, a)
		if size = len(dst) - start; size <= n.cfg.MaxEventBytes {
			return dst, true
		}
	}
	return dst[:start], false
}

// commonLength is the length to which the longest pieces must come down to save excess bytes. It is
// false if all of them together are not enough.
func commonLength(pieces []piece, excess int) (int, bool) {
	lengths := make([]int, len(pieces))
	budget := -excess
	for i, p := range pieces {
		lengths[i] = escapedLen(*p.text)
		budget += lengths[i]
	}
	if budget < 0 {
		return 0, false
	}
	slices.Sort(lengths)
	for i, l := range lengths {
		rest := len(lengths) - i
		if l*rest > budget {
			return budget / rest, true
		}
		budget -= l
	}
	return lengths[len(lengths)-1], true
}

func (e *event) pieces() []piece {
	var all []piece
	for i := range e.text {
		if i != signature && i != externalID {
			all = append(all, piece{textNames[i], &e.text[i]})
		}
	}
	for i := range e.custom {
		all = append(all, piece{"custom_info." + e.custom[i].name, &e.custom[i].text})
	}
	return append(all, piece{"mappingError", &e.mappingError})
}

// clip is the beginning of s that takes at most limit bytes once escaped, cut between characters.
func clip(s string, limit int) string {
	if limit <= len(ellipsis) {
		return ""
	}
	room, end := limit-len(ellipsis), 0
	for end < len(s) {
		w, size := escapedRune(s[end:])
		if w > room {
			return s[:end] + ellipsis
		}
		room -= w
		end += size
	}
	return s
}
