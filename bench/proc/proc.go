// SPDX-License-Identifier: Apache-2.0

// Package proc reads what the kernel counts for a process, of Linux alone.
package proc

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// CPU is what a process has spent so far, in it and in the kernel for it, on all
// processors together; 0 for one that isn't there. The kernel counts hundredths of
// a second.
func CPU(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name, which may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime: proc_pid_stat(5)
		n, _ := strconv.ParseInt(field, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100)
}

// Status is a figure of a process's memory in KiB, 0 for one that isn't there.
func Status(pid int, name string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return n
		}
	}
	return 0
}

// Usage is what a process that has ended took.
type Usage struct {
	Wall, CPU time.Duration
	Peak      int64 // resident memory at its highest, in KiB, as far as it was seen
}

// Run runs a command to its end. Its peak is looked at every few milliseconds: the
// kernel's own figure for an ended child starts at the size of the process that
// made it.
func Run(cmd *exec.Cmd) (Usage, error) {
	var complaint strings.Builder
	if cmd.Stderr == nil {
		cmd.Stderr = &complaint
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return Usage{}, err
	}
	peak, ended := make(chan int64, 1), make(chan struct{})
	go func() { peak <- watch(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	u := Usage{Wall: time.Since(begin)}
	close(ended)
	u.Peak = <-peak
	if err != nil {
		return u, fmt.Errorf("%v: %w\n%s", cmd.Args, err, complaint.String())
	}
	u.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return u, nil
}

func watch(pid int, ended <-chan struct{}) (peak int64) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return peak
		case <-tick.C:
			peak = max(peak, Status(pid, "VmHWM"))
		}
	}
}

// Pin puts a command on the given processors, as taskset(1) names them; "" leaves
// it on all.
func Pin(processors string, argv ...string) *exec.Cmd {
	if processors != "" {
		argv = append([]string{"taskset", "-c", processors}, argv...)
	}
	return exec.Command(argv[0], argv[1:]...)
}
