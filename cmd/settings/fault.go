package settings

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong, or merely odd, in a file.
type Fault struct {
	File     string
	Line     int    // from 1; 0 if the fault is about the whole file
	Key      string // as a path, "MoogServers[1].MoogUrl", counted from 0; empty if it is about the whole file
	Message  string // plain words that say what to do; never a secret
	Accepted string // what would be taken instead; may be empty
}

// InUse stands in a Fault for a file's name where the text is none of a file: it is spoken of in words.
const InUse = "settings in use"

// String is one line: `file:line: key: message (accepted: range)`.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if strings.HasSuffix(f.File, InUse) && f.Line > 0 {
		fmt.Fprintf(&b, ", line %d", f.Line)
	} else if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	if f.Key != "" {
		b.WriteString(": " + f.Key)
	}
	b.WriteString(": " + f.Message)
	if f.Accepted != "" {
		b.WriteString(" (accepted: " + f.Accepted + ")")
	}
	return b.String()
}

// Faults are all faults of one file, in the order of its lines. None means that the file is good.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

// Err is f as an error, nil if there is no fault. Returning f itself as an error would make a
// non-nil error of no faults.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Warnings are facts worth a person's look that stop nothing.
type Warnings []Fault

// Strings lists the warnings, one a line, for the log and the status page.
func (w Warnings) Strings() []string {
	lines := make([]string, len(w))
	for i := range w {
		lines[i] = w[i].String()
	}
	return lines
}

func sortByLine(f []Fault) {
	slices.SortStableFunc(f, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
}
