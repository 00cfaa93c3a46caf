package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"
)

// Held reports whether the service control manager has started this process.
func Held() bool {
	is, err := svc.IsWindowsService()
	return err == nil && is
}

// Hold runs f under what has started this process. Under the service control manager the context ends when the service is to stop,
// or the machine to shut down.
func Hold(f func(ctx context.Context, s Supervisor) error) error {
	if !Held() {
		return f(context.Background(), Nobody{})
	}
	h := &held{run: f, states: make(chan svc.Status, 4)}
	if err := svc.Run("", h); err != nil { // the name matters only where services share a process
		return fmt.Errorf("run under the service control manager: %w", err)
	}
	return h.err
}

// held is the service as the manager sees it. It is a Supervisor.
type held struct {
	Nobody
	run    func(ctx context.Context, s Supervisor) error
	states chan svc.Status
	err    error // valid once svc.Run has returned
}

const accepts = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown

// Ready implements Supervisor.
func (h *held) Ready() { h.states <- svc.Status{State: svc.Running, Accepts: accepts} }

// Execute implements svc.Handler.
func (h *held) Execute(args []string, orders <-chan svc.ChangeRequest, changes chan<- svc.Status) (bool, uint32) {
	changes <- svc.Status{State: svc.StartPending, WaitHint: uint32(StartLimit.Milliseconds())}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- h.run(ctx, h) }()
	for {
		select {
		case s := <-h.states:
			changes <- s
		case o := <-orders:
			switch o.Cmd {
			case svc.Interrogate:
				changes <- o.CurrentStatus
			case svc.Stop, svc.Shutdown, svc.PreShutdown:
				changes <- svc.Status{State: svc.StopPending, WaitHint: uint32(StopLimit.Milliseconds())}
				cancel()
			}
		case h.err = <-ended:
			if h.err != nil {
				tellEventLog(args, h.err)
				return true, 1 // a failure: the recovery actions apply
			}
			return false, 0
		}
	}
}

// tellEventLog says why the service has ended: settings that cannot be read name no log file yet.
func tellEventLog(args []string, why error) {
	if len(args) == 0 {
		return
	}
	log, err := eventlog.Open(args[0])
	if err != nil {
		return // nobody is left to be told
	}
	defer log.Close() //nolint:errcheck // only a handle
	_ = log.Error(eventEnded, why.Error())
}

// eventEnded is the event's number; eventcreate's own message file knows 1 to 1000.
const eventEnded = 1

const description = "Carries alerts from Microsoft SCOM to Moogsoft, and closes back."

// Host is this machine's service manager.
func Host() System { return scm{} }

type scm struct{}

// Install implements System.
func (scm) Install(s Spec) (Plan, error) { return windowsInstall(s) }

// Uninstall implements System.
func (scm) Uninstall(name string) (Plan, error) { return windowsUninstall(name) }

// Carry implements System.
func (scm) Carry(ctx context.Context, p Plan, tell func(string)) error {
	plan, ok := p.(*windowsPlan)
	if !ok {
		return fmt.Errorf("a plan of another system: %T", p)
	}
	m, err := connect()
	if err != nil {
		return err
	}
	defer m.Disconnect() //nolint:errcheck // only a handle
	if plan.remove {
		return plan.uninstall(ctx, m, tell)
	}
	return plan.install(m, tell)
}

func connect() (*mgr.Mgr, error) {
	m, err := mgr.Connect()
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return nil, ErrRights
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the service control manager: %w", err)
	}
	return m, nil
}

func (p *windowsPlan) install(m *mgr.Mgr, tell func(string)) error {
	s := p.spec
	account := s.Account
	if account == `LocalSystem` {
		account = ""
	}
	tell("create the service " + s.Name)
	made, err := m.CreateService(s.Name, s.Program, mgr.Config{
		StartType: mgr.StartAutomatic, DelayedAutoStart: true, ErrorControl: mgr.ErrorNormal, DisplayName: s.Name, Description: description,
		ServiceStartName: account, Password: s.Password, SidType: windows.SERVICE_SID_TYPE_UNRESTRICTED,
	}, s.arguments()...)
	if errors.Is(err, windows.ERROR_SERVICE_EXISTS) {
		return fmt.Errorf("the service %s is there already: stop it, put the new program in its place and start it, or uninstall it first", s.Name)
	}
	if err != nil {
		return fmt.Errorf("create the service: %w", err)
	}
	defer made.Close() //nolint:errcheck // only a handle
	if err := p.complete(made, tell); err != nil {
		return errors.Join(err, made.Delete()) // half a service is worse than none
	}
	tell("the firewall is yours to open: " + p.firewall())
	return nil
}

// complete is everything beside the service itself.
func (p *windowsPlan) complete(made *mgr.Service, tell func(string)) error {
	var actions []mgr.RecoveryAction
	for _, delay := range restarts {
		actions = append(actions, mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: delay})
	}
	tell("restart it after failures")
	if err := made.SetRecoveryActions(actions, uint32(recoveryReset.Seconds())); err != nil {
		return fmt.Errorf("set what happens after a failure: %w", err)
	}
	if err := made.SetRecoveryActionsOnNonCrashFailures(true); err != nil {
		return fmt.Errorf("set what happens after a failure: %w", err)
	}
	wait := uint32(preshutdown.Milliseconds())
	if err := windows.ChangeServiceConfig2(made.Handle, windows.SERVICE_CONFIG_PRESHUTDOWN_INFO, (*byte)(unsafe.Pointer(&wait))); err != nil {
		return fmt.Errorf("set how long Windows waits at its shutdown: %w", err)
	}
	tell("create the event source " + p.spec.Name)
	if err := eventlog.InstallAsEventCreate(p.spec.Name, eventlog.Error|eventlog.Warning|eventlog.Info); err != nil && !eventSourceThere(p.spec.Name) {
		return fmt.Errorf("create the event source: %w", err)
	}
	sid, err := accountSID(p.spec.Account, p.spec.Name)
	if err != nil {
		return err
	}
	for _, dir := range p.folders {
		tell("let only SYSTEM, Administrators and the service into " + dir)
		if err := restrict(dir, sid); err != nil {
			return fmt.Errorf("access list of %s: %w", dir, err)
		}
	}
	return nil
}

// eventSourceThere: package eventlog has no error of a type for it.
func eventSourceThere(name string) bool {
	log, err := eventlog.Open(name)
	if err != nil {
		return false
	}
	return log.Close() == nil
}

func accountSID(account, name string) (string, error) {
	if account == `NT SERVICE\`+name {
		return serviceSID(name), nil
	}
	if account == "LocalSystem" {
		return "", nil
	}
	sid, _, _, err := windows.LookupSID("", account)
	if err != nil {
		return "", fmt.Errorf("look up the account %s: %w", account, err)
	}
	return sid.String(), nil
}

func restrict(dir, sid string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	sd, err := windows.SecurityDescriptorFromString(accessList(sid))
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	return windows.SetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT,
		windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
}

func (p *windowsPlan) uninstall(ctx context.Context, m *mgr.Mgr, tell func(string)) error {
	s, err := m.OpenService(p.spec.Name)
	if err != nil {
		return fmt.Errorf("open the service %s: %w", p.spec.Name, err)
	}
	defer s.Close() //nolint:errcheck // only a handle
	tell("stop the service " + p.spec.Name)
	if err := stop(ctx, s); err != nil {
		return err
	}
	tell("remove it, and its event source")
	if err := s.Delete(); err != nil {
		return fmt.Errorf("remove the service: %w", err)
	}
	if err := eventlog.Remove(p.spec.Name); err != nil && eventSourceThere(p.spec.Name) {
		return fmt.Errorf("remove the event source: %w", err)
	}
	return nil
}

// Start implements System.
func (scm) Start(ctx context.Context, name string) error {
	return with(name, func(s *mgr.Service) error {
		if err := s.Start(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
			return fmt.Errorf("start %s: %w", name, err)
		}
		return reach(ctx, s, svc.Running)
	})
}

// Stop implements System.
func (scm) Stop(ctx context.Context, name string) error {
	return with(name, func(s *mgr.Service) error { return stop(ctx, s) })
}

func with(name string, f func(*mgr.Service) error) error {
	m, err := connect()
	if err != nil {
		return err
	}
	defer m.Disconnect() //nolint:errcheck // only a handle
	s, err := m.OpenService(name)
	if err != nil {
		return fmt.Errorf("open the service %s: %w", name, err)
	}
	defer s.Close() //nolint:errcheck // only a handle
	return f(s)
}

func stop(ctx context.Context, s *mgr.Service) error {
	if _, err := s.Control(svc.Stop); errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) {
		return nil
	} else if err != nil {
		return fmt.Errorf("stop %s: %w", s.Name, err)
	}
	return reach(ctx, s, svc.Stopped)
}

// reach waits for a state. A service that falls back to stopped will not come up any more.
func reach(ctx context.Context, s *mgr.Service, want svc.State) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := s.Query()
		if err != nil {
			return fmt.Errorf("ask how %s is: %w", s.Name, err)
		}
		switch {
		case now.State == want:
			return nil
		case want == svc.Running && now.State == svc.Stopped:
			return fmt.Errorf("%s has ended at once: its log, and the event log Application, say why", s.Name)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is not there yet: %w", s.Name, ctx.Err())
		}
	}
}
