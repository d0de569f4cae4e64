// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// figures holds every run's value by package, benchmark and unit.
type figures map[string][]float64

func key(pkg, name, unit string) string { return pkg + " " + name + " " + unit }

// benchLine is a result as `go test -bench` prints it: name with the number of
// processors behind, iterations, pairs of value and unit.
var benchLine = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.+)$`)

// read collects the results of one package.
func (f figures) read(pkg string, r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		m := benchLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		fields := strings.Fields(m[2])
		for i := 0; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				continue
			}
			k := key(pkg, m[1], fields[i+1])
			f[k] = append(f[k], v)
		}
	}
}

// best returns the best run's value: the largest of a speed, else the smallest. Of
// a statistic it is the largest, the one that says most against the product.
func (f figures) best(pkg, name, unit string) (float64, error) {
	values := f[key(pkg, name, unit)]
	if len(values) == 0 {
		return 0, fmt.Errorf("benchmark %s of %s gave no %s", name, pkg, unit)
	}
	if strings.HasSuffix(unit, "/s") || unit == units[welch] {
		return slices.Max(values), nil
	}
	return slices.Min(values), nil
}

// machine describes where the figures come from.
func machine() string {
	cpu := grep("/proc/cpuinfo", "model name")
	if cpu == "" {
		cpu = "unknown processor"
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	parts := []string{
		fmt.Sprintf("%s, %d processors", cpu, runtime.NumCPU()),
		"memory " + memory(grep("/proc/meminfo", "MemTotal")),
		strings.TrimSpace(runtime.GOOS + " " + string(kernel)),
		goVersion(),
	}
	return "Machine: " + strings.Join(parts, "; ") + "."
}

// memory turns the kernel's "24684084 kB" into GiB.
func memory(kernel string) string {
	n, err := strconv.ParseFloat(strings.TrimSuffix(kernel, " kB"), 64)
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.1f GiB", n/(1<<20))
}

// goVersion is the toolchain that ran the benchmarks.
func goVersion() string {
	out, err := exec.Command("go", "env", "GOVERSION").Output()
	if err != nil {
		return runtime.Version()
	}
	return strings.TrimSpace(string(out))
}

// grep returns the value of the first "name: value" line of a file.
func grep(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
