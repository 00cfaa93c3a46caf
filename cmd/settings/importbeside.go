package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Past is what the original kept beside its settings.
type Past struct {
	Position time.Time // zero: not known
	Log      *Log      // nil: not known
	Findings []Finding
}

// ReadPast reads the original's position and log levels. Files that are not named are looked for where the original has them: beside
// its settings and, for the log, in the folder above. What is found there and cannot be understood is a finding; a named file must be good.
func ReadPast(importFile, pollTime, logConfig string, now time.Time) (Past, error) {
	var p Past
	dir := filepath.Dir(importFile)
	there, err := beside(pollTime, []string{filepath.Join(dir, PollTimeFileName)}, func(file string, text []byte) (err error) {
		var zoneless string
		if p.Position, zoneless, err = PollTime(text, now); zoneless != "" {
			p.Findings = append(p.Findings, Finding{Key: PollTimeFileName, Text: fmt.Sprintf("its time %q names no time zone and may be of any: it is read as of the one furthest ahead, "+
				"and, if day and month can be taken for each other, as the earlier day, which makes it %s. So nothing is missed; what is read once more, Moogsoft folds", clip(zoneless), p.Position.Format("2006-01-02 15:04Z"))})
		}
		return err
	}, func(file string, err error) {
		p.Findings = append(p.Findings, Finding{Key: PollTimeFileName, Open: true, Text: fmt.Sprintf("%s: %v: set InitialLookback so that it reaches back to when the original stopped", file, err)})
	})
	if err != nil {
		return p, err
	}
	if !there {
		p.Findings = append(p.Findings, Finding{Key: PollTimeFileName, Text: "is not beside the imported file, so it is not known how far the original had come. The first start sends all open alerts, and what " +
			"changed within InitialLookback before it (24h unless set, 168h at most): let that reach back to when the original stopped, or name the file with --poll-time"})
	}
	there, err = beside(logConfig, []string{filepath.Join(dir, LogConfigFileName), filepath.Join(dir, "..", LogConfigFileName)}, func(file string, text []byte) error {
		log, found, err := LogSettings(text)
		if err != nil {
			return err
		}
		p.Log = &log
		p.Findings = append(p.Findings, Finding{Key: LogConfigFileName, Text: "its levels are, as node.json says it and init --import writes it, " + log.Text()})
		for _, f := range found {
			p.Findings = append(p.Findings, Finding{Key: LogConfigFileName + " " + f.Key, Text: f.Text})
		}
		return nil
	}, func(file string, err error) {
		p.Findings = append(p.Findings, Finding{Key: LogConfigFileName, Text: fmt.Sprintf("%s: %v: the log has level INFO", file, err)})
	})
	if err == nil && !there {
		p.Findings = append(p.Findings, Finding{Key: LogConfigFileName, Text: "is neither beside the imported file nor in the folder above: the log has level INFO; --log-config names the file"})
	}
	if _, statErr := os.Stat(filepath.Join(dir, "MCMServiceConfig.json")); statErr == nil {
		p.Findings = append(p.Findings, Finding{Key: "MCMServiceConfig.json", Text: "is not needed: who is Primary and Secondary stands in each node.json, which init --primary --secondary writes"})
	}
	return p, err
}

// beside reads the named file, or the first of the usual ones that is there; there is false if none is.
func beside(named string, usual []string, read func(file string, text []byte) error, bad func(file string, err error)) (there bool, err error) {
	if named != "" {
		text, err := readSmall(named)
		if err == nil {
			err = read(named, text)
		}
		if err != nil {
			return true, fmt.Errorf("read %s: %w", named, err)
		}
		return true, nil
	}
	for _, file := range usual {
		text, err := readSmall(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = read(file, text)
		}
		if err != nil {
			bad(file, err)
		}
		return true, nil
	}
	return false, nil
}

// readSmall reads a file of at most a MiB; the original's have a few KiB.
func readSmall(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > 1<<20 {
		return nil, fmt.Errorf("it has %d bytes: is it another file?", info.Size())
	}
	return os.ReadFile(file)
}
