package service

import (
	"strings"
	"testing"
)

func TestServiceSIDsAreThoseOfWindows(t *testing.T) {
	// The one that everybody has met, in the access lists of Windows' own files.
	const installer = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
	if got := serviceSID("TrustedInstaller"); got != installer {
		t.Errorf("got %s, want %s", got, installer)
	}
	if serviceSID("scomconnector") != serviceSID("SCOMConnector") {
		t.Error("case matters, which it does not to Windows")
	}
}

func onWindows() Spec {
	return Spec{
		Name: DefaultName, Program: `C:\Program Files\scomconnector\scomconnector.exe`, NodeFile: `C:\ProgramData\scomconnector\node.json`,
		Home: `C:\ProgramData\scomconnector`, DataDir: `C:\ProgramData\scomconnector\data`, Writable: []string{`C:\ProgramData\scomconnector`, `D:\logs`},
		Ports: []string{"8085", "8086"},
	}
}

func TestThePlanForWindows(t *testing.T) {
	p, err := windowsInstall(onWindows())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "windows.txt", p.String()+p.firewall()+"\n")
	p, err = windowsUninstall("second")
	if err != nil {
		t.Fatal(err)
	}
	if want := "stop the service second\nremove it, and its event source\n"; p.String() != want {
		t.Errorf("got %s, want %s", p, want)
	}
}

func TestOnlySystemAdministratorsAndTheServiceReadTheFolders(t *testing.T) {
	sid := serviceSID(DefaultName)
	if got, want := accessList(sid), "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;"+sid+")"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, system := range []string{"", "S-1-5-18"} {
		if got, want := accessList(system), "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"; got != want {
			t.Errorf("%q: got %s, want %s", system, got, want)
		}
	}
}

func TestAccountsWithAPasswordNeedIt(t *testing.T) {
	for account, needs := range map[string]bool{
		"": false, `NT SERVICE\scomconnector`: false, `NT AUTHORITY\NetworkService`: false, "LocalSystem": false, `CONTOSO\gmsa-moog$`: false,
		`CONTOSO\svc-moog`: true, `.\svc`: true,
	} {
		s := onWindows()
		s.Account = account
		if _, err := windowsInstall(s); (err != nil) != needs {
			t.Errorf("%s: got %v, want an error: %v", account, err, needs)
		}
		s.Password = "secret"
		if p, err := windowsInstall(s); err != nil || strings.Contains(p.String(), "secret") {
			t.Errorf("%s: %v, or the plan shows the password", account, err)
		}
	}
}

func TestAWholeDriveIsNotTaken(t *testing.T) {
	s := onWindows()
	s.DataDir = `D:\`
	if _, err := windowsInstall(s); err == nil || !strings.Contains(err.Error(), "whole drive") {
		t.Errorf("got %v", err)
	}
}
