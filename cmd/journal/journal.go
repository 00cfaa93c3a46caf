package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"gopkg.in/natefinch/lumberjack.v2"
)

// Config says what is written and where to.
type Config struct {
	Level      string // one of Levels; empty: INFO
	Format     string // text, json; empty: text
	File       string // empty: the console
	MaxSizeMB  int    // of the file, before it is put aside
	MaxBackups int    // files that were put aside and are kept
	EventLog   bool   // Windows: from INFO on
}

// Levels are the words for what is written, the quietest first, as in the original.
var Levels = []string{"OFF", "FATAL", "ERROR", "WARN", "INFO", "DEBUG", "ALL"}

// Known is the level as it is written here; case does not count.
func Known(word string) (level string, known bool) {
	level = strings.ToUpper(strings.TrimSpace(word))
	return level, slices.Contains(Levels, level)
}

// levels are hclog's names for ours. FATAL is the part of ERROR that carries the key "fatal".
var levels = map[string]hclog.Level{
	"OFF": hclog.Off, "FATAL": hclog.Error, "ERROR": hclog.Error, "WARN": hclog.Warn, "INFO": hclog.Info, "DEBUG": hclog.Debug, "ALL": hclog.Trace,
}

// Journal is an open log. It may be used concurrently.
type Journal struct {
	logger, audit hclog.Logger
	all           hclog.Logger // as logger, and keeps nothing back
	fatalOnly     atomic.Bool
	talkative     atomic.Bool // DEBUG or more: nothing is kept back
	repeats       *repeats
	closers       []io.Closer

	mu    sync.Mutex // guards level, and that it belongs to what the logger does
	level string
}

// Open begins the log. A file's folder is made for this account only.
func Open(cfg Config, console io.Writer) (*Journal, error) {
	j := &Journal{}
	out, events, err := j.outputs(cfg, console)
	if err != nil {
		return nil, err
	}
	o := hclog.LoggerOptions{
		Name: "scomconnector", JSONFormat: cfg.Format == "json", TimeFormat: "2006-01-02T15:04:05.000Z07:00",
		Mutex: new(sync.Mutex), Output: out, Level: hclog.Info,
	}
	audit := hclog.New(&o)
	j.audit = oneLine{audit, audit}.Named("audit")
	if events != nil {
		o.Output = both{out, events}
	}
	o.Exclude = j.exclude
	filtered := hclog.New(&o)
	o.Exclude = nil
	j.all = hclog.New(&o)
	j.logger = oneLine{filtered, j.all}
	j.repeats = &repeats{all: map[string]*repeat{}, tell: func(r *repeat) {
		msg, args := r.line()
		j.all.Log(r.level, msg, args...)
	}}
	if err := j.SetLevel(cmp.Or(cfg.Level, "INFO")); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// outputs opens where the log goes to.
func (j *Journal) outputs(cfg Config, console io.Writer) (io.Writer, hclog.LevelWriter, error) {
	out := console
	if cfg.File != "" {
		if err := os.MkdirAll(filepath.Dir(cfg.File), 0o700); err != nil {
			return nil, nil, fmt.Errorf("folder of Log.File: %w", err)
		}
		// Lumberjack opens it with the first line, whose failure nobody would see, and puts aside what it cannot open.
		probe, err := os.OpenFile(cfg.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			err = probe.Close()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("Log.File: %w", err)
		}
		file := logFile{&lumberjack.Logger{Filename: cfg.File, MaxSize: cfg.MaxSizeMB, MaxBackups: cfg.MaxBackups}}
		j.closers = append(j.closers, file)
		out = file
	}
	if !cfg.EventLog {
		return out, nil, nil
	}
	events, err := openEvents()
	if err != nil { // a node must not stand still for want of a second log
		fmt.Fprintln(console, "warning: the event log cannot be used:", err)
		return out, nil, nil
	}
	j.closers = append(j.closers, events)
	return out, events, nil
}

// logFile is a file that rotates. What cannot be put aside, on Windows a file that somebody else has open, grows on: Lumberjack would
// drop each line until that works.
type logFile struct{ *lumberjack.Logger }

func (f logFile) Write(p []byte) (int, error) {
	n, err := f.Logger.Write(p)
	if err == nil {
		return n, nil
	}
	out, openErr := os.OpenFile(f.Filename, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if openErr != nil {
		return n, err
	}
	more, err := out.Write(p[n:])
	return n + more, errors.Join(err, out.Close())
}

// Logger is what the node logs with.
func (j *Journal) Logger() hclog.Logger { return j.logger }

// Audit is for what people change. The level does not silence it.
func (j *Journal) Audit() hclog.Logger { return j.audit }

// Level is the word for what is written now.
func (j *Journal) Level() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.level
}

// SetLevel changes what is written, until the next start; case does not count.
func (j *Journal) SetLevel(word string) error {
	level, known := Known(word)
	if !known {
		return fmt.Errorf("the level of the log is one of %s, not %.20q", strings.Join(Levels, ", "), word)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.level = level
	j.fatalOnly.Store(level == "FATAL")
	j.talkative.Store(level == "DEBUG" || level == "ALL")
	j.logger.SetLevel(levels[level])
	j.all.SetLevel(levels[level])
	if level == "FATAL" { // what is fatal goes to logger
		j.all.SetLevel(hclog.Off)
	}
	return nil
}

// exclude keeps back what is said again and again, and what is not fatal where only that is wanted.
func (j *Journal) exclude(level hclog.Level, msg string, args ...any) bool {
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "fatal" {
			return false
		}
	}
	return j.fatalOnly.Load() || !j.talkative.Load() && j.repeats.keepBack(level, msg, args)
}

// Close ends the log. Nothing may be logged any more.
func (j *Journal) Close() error {
	j.repeats.close()
	var err error
	for _, c := range j.closers {
		err = errors.Join(err, c.Close())
	}
	return err
}

// both is a log and Windows' event log beside it.
type both struct {
	io.Writer
	events hclog.LevelWriter
}

func (b both) LevelWrite(level hclog.Level, p []byte) (int, error) {
	n, err := b.Write(p)
	_, eventErr := b.events.LevelWrite(level, p)
	return n, errors.Join(err, eventErr)
}
