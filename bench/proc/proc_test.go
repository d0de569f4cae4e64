// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestOwnProcess(t *testing.T) {
	for end := time.Now().Add(30 * time.Second); CPU(os.Getpid()) == 0; {
		if time.Now().After(end) {
			t.Fatal("no processor time in half a minute of work")
		}
	}
	if Status(os.Getpid(), "VmHWM") < 1024 {
		t.Error("a Go program in less than a MiB")
	}
	if CPU(-1) != 0 || Status(-1, "VmHWM") != 0 || Status(os.Getpid(), "VmNothing") != 0 {
		t.Error("figures of nothing")
	}
}

func TestRun(t *testing.T) {
	u, err := Run(exec.Command("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"))
	if err != nil || u.Wall <= 0 || u.CPU <= 0 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := Run(exec.Command("sh", "-c", "exit 3")); err == nil {
		t.Error("a command that failed has figures")
	}
	if got := Pin("0,1", "cp", "a").Args; len(got) != 5 || got[0] != "taskset" {
		t.Errorf("%q", got)
	}
}
