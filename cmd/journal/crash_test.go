package journal

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// crashIn names the folder in which this test binary, run again, is to crash.
const crashIn = "SCOMCONNECTOR_TEST_CRASH_IN"

func TestACrashLeavesItsStackBesideTheLog(t *testing.T) {
	if dir := os.Getenv(crashIn); dir != "" {
		if err := KeepCrashes(dir); err != nil {
			os.Exit(3)
		}
		panic("out of order")
	}
	dir := t.TempDir()
	full := filepath.Join(dir, crashName)
	if err := os.WriteFile(full, make([]byte, maxCrash+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestACrashLeavesItsStackBesideTheLog$")
		cmd.Env = append(os.Environ(), crashIn+"="+dir)
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != 2 {
			t.Fatalf("it ended with %v, want a crash", err)
		}
		text, err := os.ReadFile(full)
		if err != nil || strings.Count(string(text), "out of order") < i+1 || !strings.Contains(string(text), "goroutine ") {
			t.Errorf("after crash %d the file has %.300q, %v", i+1, text, err)
		}
	}
	if info, err := os.Stat(full + ".old"); err != nil || info.Size() != maxCrash+1 {
		t.Errorf("what was too large was not put aside: %v", err)
	}
}
