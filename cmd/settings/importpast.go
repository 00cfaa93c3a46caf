package settings

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The files that the original kept beside its settings.
const (
	PollTimeFileName  = "SCOMLastPollTime.json"
	LogConfigFileName = "SCOMConnector.exe.config"
)

// PollTime is the position in the original's SCOMLastPollTime.json. Its form is documented nowhere, so every value that can be a time is
// taken for one, and the earliest counts, under the reading that goes furthest back: reading too much costs events that Moogsoft folds,
// reading too little would lose some. Times without a zone may be of any; zoneless is such a one as it is written, if it is what counts.
func PollTime(text []byte, now time.Time) (position time.Time, zoneless string, err error) {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	dec.UseNumber()
	var earliest time.Time
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return time.Time{}, "", fmt.Errorf("it is not JSON: %w", err)
		}
		all, local := readings(tok)
		for _, at := range all {
			if at.After(now.Add(24*time.Hour)) || at.Before(now.AddDate(-5, 0, 0)) {
				continue // no position of a connector that somebody moves from
			}
			if earliest.IsZero() || at.Before(earliest) {
				earliest, zoneless = at, local
			}
		}
	}
	if earliest.IsZero() {
		return earliest, "", errors.New("there is no time of the last five years in it")
	}
	return earliest.UTC(), zoneless, nil
}

var dotNetDate = regexp.MustCompile(`^\\?/Date\((-?\d+)([+-]\d{4})?\)\\?/$`)

// furthestEast is the zone that is ahead of all: a time without a zone may be of there, and is that much earlier then.
const furthestEast = 14 * time.Hour

// readings are the times that a value of JSON can mean; local is the value where it is a time without a zone.
func readings(tok json.Token) (all []time.Time, local string) {
	switch v := tok.(type) {
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return nil, ""
		}
		const ticksAtEpoch = 621355968000000000 // of 100 ns, from the year 1, as .NET counts
		return []time.Time{time.Unix(n, 0), time.UnixMilli(n), time.Unix(0, (n-ticksAtEpoch)*100)}, ""
	case string:
		v = strings.TrimSpace(v)
		if m := dotNetDate.FindStringSubmatch(v); m != nil {
			ms, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				return nil, ""
			}
			return []time.Time{time.UnixMilli(ms)}, ""
		}
		if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return []time.Time{at}, ""
		}
		return withoutZone(v), v
	}
	return nil, ""
}

func withoutZone(v string) []time.Time {
	var all []time.Time
	for _, day := range []string{"2006-01-02", "2006/1/2", "1/2/2006", "2/1/2006", "1-2-2006", "2-1-2006", "2.1.2006"} {
		for _, clock := range []string{"T15:04:05", " 15:04:05", " 3:04:05 PM", " 15:04", " 3:04 PM"} {
			if at, err := time.Parse(day+clock, v); err == nil {
				all = append(all, at.Add(-furthestEast))
			}
		}
	}
	return all
}

// cutover is how long it may take from the import to the first start: the look-back is counted from the start.
const cutover = 24 * time.Hour

// longestLookback is InitialLookback's range.
const longestLookback = 168 * time.Hour

// lookback puts the original's position into InitialLookback.
func (im *importer) lookback(position, now time.Time) {
	if im.textOf("InitialLookback") != "" {
		return // answered, or written by hand
	}
	need := (now.Sub(position) + cutover + time.Hour - 1).Truncate(time.Hour)
	at := position.Format("2006-01-02 15:04Z")
	switch {
	case need <= defaultLookback():
		im.find("InitialLookback", false, "the original's position is %s; the default of 24h reaches further back, if the first start comes soon", at)
		return
	case need > longestLookback:
		need = longestLookback
		im.report = append(im.report, Finding{Key: "InitialLookback", Text: fmt.Sprintf(
			"the original's position is %s, and 168h is the most: SCOM itself has groomed what was resolved before that. All open alerts are sent in any case", at)})
	default:
		im.report = append(im.report, Finding{Key: "InitialLookback", Text: fmt.Sprintf(
			"set to %dh, so that a first start within a day reaches back to the original's position, %s; if it comes later, add as much. All open alerts are sent in any case", int(need.Hours()), at)})
	}
	if err := im.set("InitialLookback", fmt.Sprintf("%dh", int(need.Hours()))); err != nil {
		im.report = append(im.report, Finding{Key: "InitialLookback", Text: err.Error(), Open: true})
		return
	}
	im.comment("InitialLookback", "the original's position was "+at+"; only the first start looks at this")
}

func defaultLookback() time.Duration { return ClusterDefaults().InitialLookback }

// LogSettings reads the log levels of the original's SCOMConnector.exe.config (log4net) into node.json's Log. The findings name
// what of it has no counterpart.
func LogSettings(text []byte) (Log, []Finding, error) {
	appenders, levels, err := readAppenders(text)
	if err != nil {
		return Log{}, nil, err
	}
	log := NodeDefaults().Log
	var found []Finding
	note := func(key, format string, args ...any) {
		found = append(found, Finding{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	for _, a := range appenders {
		switch {
		case strings.HasSuffix(a.typ, "EventLogAppender"):
			log.EventLog = !strings.EqualFold(a.min, "OFF")
			if log.EventLog && a.min != "" && !strings.EqualFold(a.min, "INFO") {
				note(a.name, "levelMin %s: the event log gets what is INFO or worse", clip(a.min))
			}
		case strings.HasSuffix(a.typ, "RollingFileAppender"), strings.HasSuffix(a.typ, "FileAppender"):
			a.intoFile(&log, note)
		default:
			note(a.name, "an appender of type %s has no counterpart", clip(a.typ))
		}
	}
	for _, level := range levels {
		if !strings.EqualFold(level, log.Level) {
			note("level", "level %s, of log4net's root or of a logger, is not taken over; Log.Level is %s, by the levelMin of the file's appender or for want of one", clip(level), log.Level)
		}
	}
	return log, found, nil
}

// appender is one of log4net's.
type appender struct{ name, typ, min, max, file, size, backups string }

func (a *appender) intoFile(log *Log, note func(string, string, ...any)) {
	switch level := strings.ToUpper(a.min); level {
	case "":
	case "OFF", "FATAL", "ERROR", "WARN", "INFO", "DEBUG", "ALL":
		log.Level = level
	default:
		note(a.name, "levelMin %s is no level: INFO is used", clip(a.min))
	}
	if max := strings.ToUpper(a.max); max != "" && max != "FATAL" && max != "OFF" && max != "ALL" {
		note(a.name, "levelMax %s: what is worse is logged as well, which nobody should miss", clip(a.max))
	}
	if a.file != "" {
		note(a.name, "file %s: as a service the log is in DataDir/logs; Log.File in node.json names another", clip(a.file))
	}
	number, unit := strings.TrimRight(strings.ToUpper(a.size), "KMGB"), strings.TrimLeft(strings.ToUpper(a.size), "0123456789. ")
	if n, err := strconv.Atoi(strings.TrimSpace(number)); err == nil && n > 0 {
		bytes := n * map[string]int{"": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[unit]
		log.MaxSizeMB = min(max(1, bytes>>20), 1000)
	}
	if n, err := strconv.Atoi(a.backups); err == nil && n > 0 {
		log.MaxBackups = min(n, 100)
	}
}

// readAppenders finds them wherever they stand, and the levels outside of them; log4net's section may be nested.
func readAppenders(text []byte) (all []appender, levels []string, err error) {
	dec := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	dec.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // levels are plain ASCII in any of them
	inside := false
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("it is not XML: %w", err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			if e.Name.Local == "appender" {
				typ, _, _ := strings.Cut(attribute(e, "type"), ",")
				all, inside = append(all, appender{name: attribute(e, "name"), typ: strings.TrimSpace(typ)}), true
			} else if inside {
				all[len(all)-1].take(e.Name.Local, attribute(e, "value"))
			} else if strings.EqualFold(e.Name.Local, "level") {
				levels = append(levels, attribute(e, "value"))
			}
		case xml.EndElement:
			inside = inside && e.Name.Local != "appender"
		}
	}
	if len(all) == 0 {
		return nil, nil, errors.New("there is no appender of log4net in it")
	}
	return all, levels, nil
}

func (a *appender) take(name, value string) {
	value = strings.TrimSpace(value)
	switch strings.ToLower(name) {
	case "levelmin":
		a.min = value
	case "levelmax":
		a.max = value
	case "file":
		a.file = value
	case "maximumfilesize":
		a.size = value
	case "maxsizerollbackups":
		a.backups = value
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if strings.EqualFold(a.Name.Local, name) {
			return a.Value
		}
	}
	return ""
}

// Text is the Log as it stands in node.json.
func (l *Log) Text() string {
	return fmt.Sprintf(`"Log": {"Level": %q, "MaxSizeMB": %d, "MaxBackups": %d, "EventLog": %v}`, l.Level, l.MaxSizeMB, l.MaxBackups, l.EventLog)
}
