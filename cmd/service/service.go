package service

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Spec is a node to be held as a service.
type Spec struct {
	Name       string // of the service
	Account    string // it runs under; empty: the platform's default for the name
	Password   string // of a Windows account that has one
	Program    string // this binary, absolute
	NodeFile   string // absolute
	ConfigFile string // absolute; empty: beside NodeFile
	Home       string // folder of NodeFile: settings and secrets
	DataDir    string
	Writable   []string // further folders of its own that the node writes to, such as the log's
	Shared     []string // folders that others write to as well: their owner and rights are not ours to change
	Ports      []string // that it listens on
}

// Name of the service unless another is given.
const DefaultName = "scomconnector"

// StartLimit and StopLimit bound how long the service manager waits. A node stops within ten seconds.
const (
	StartLimit = 90 * time.Second
	StopLimit  = 20 * time.Second
)

// arguments are the command line of the service behind the program.
func (s *Spec) arguments() []string {
	args := []string{"run", "--node", s.NodeFile}
	if s.ConfigFile != "" {
		args = append(args, "--config", s.ConfigFile)
	}
	return args
}

// Plan is what is going to be done to the machine, in order.
type Plan interface {
	// String is the plan for a person; on Linux a shell script that does the same.
	String() string
}

// System is a service manager. Its calls change the machine and need an administrator.
type System interface {
	// Install and Uninstall work out what is to be done, without doing it.
	Install(s Spec) (Plan, error)
	Uninstall(name string) (Plan, error)
	// Carry does what a plan of this System says, and tells each step.
	Carry(ctx context.Context, p Plan, tell func(string)) error
	// Start returns once the node serves, Stop once it has ended.
	Start(ctx context.Context, name string) error
	Stop(ctx context.Context, name string) error
}

// ErrNoManager says that this machine runs no service manager that we know.
var ErrNoManager = errors.New("no systemd runs on this machine")

// ErrRights says that an administrator has to do it.
var ErrRights = errors.New("only an administrator may do this")

// ErrName says that a service cannot be called that.
var ErrName = errors.New("no name for a service")

// ErrPlace says that a service cannot have its files there.
var ErrPlace = errors.New("no place for a service's files")

// misplaced is what is wrong with a place.
type misplaced string

func (m misplaced) Error() string      { return string(m) }
func (misplaced) Is(target error) bool { return target == ErrPlace }

// validName keeps a name from meaning anything else in a unit, a path or a registry key.
func validName(name string) error {
	if name == "" || len(name) > 80 {
		return fmt.Errorf("%q is %w: 1 to 80 letters, digits, hyphens and underscores", name, ErrName)
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return fmt.Errorf("%q is %w: only letters, digits, hyphens and underscores", name, ErrName)
		}
	}
	return nil
}

// Supervisor is told how the node fares. It satisfies what package daemon asks for. Its calls may overlap and do not block.
type Supervisor interface {
	Ready()
	Verdict(sentence string)
	Beat()
	Stopping()
}

// Nobody is the Supervisor of a process that a person has started.
type Nobody struct{}

// Ready, Verdict, Beat and Stopping do nothing.
func (Nobody) Ready()         {}
func (Nobody) Verdict(string) {}
func (Nobody) Beat()          {}
func (Nobody) Stopping()      {}
