package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// settings is the command line.
type settings struct {
	scenarios string
	systems   string
	n         int
	compare   bool
	rounds    int
	json      bool
	counters  bool
	chart     string
	dsn       string
	profile   string
	allocs    string

	concurrency int
	batch       int
	gap         time.Duration
	length      time.Duration
	backlog     int
}

// parse reads the command line. What is wrong with it is one error.
func parse(args []string, out io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&s.scenarios, "scenario", "drain", "what to measure: one or several with commas between, or all; see below")
	f.StringVar(&s.systems, "system", "", "with what: one or several with commas between (default letterbox; with -compare those that the scenario compares)")
	f.IntVar(&s.n, "n", 0, "how many messages (default: the scenario's own)")
	f.BoolVar(&s.compare, "compare", false, "run the systems in turn, A, B, A, B ..., and print a table with ratios and goals")
	f.IntVar(&s.rounds, "rounds", 5, "how often each system has its turn with -compare")
	f.BoolVar(&s.json, "json", false, "print the results as JSON")
	f.BoolVar(&s.counters, "counters", false, "count statements, round trips, WAL, rows and buffers per message, and measure no times; as JSON, the baseline of the test")
	f.StringVar(&s.chart, "chart", "bench.svg", "with -compare: write a chart to this SVG file; empty writes none")
	f.StringVar(&s.dsn, "dsn", "", "an empty database to measure in (default: a PostgreSQL of its own, fsync on)")
	f.StringVar(&s.profile, "cpuprofile", "", "write a profile of the CPU to this file")
	f.StringVar(&s.allocs, "memprofile", "", "write a profile of all allocations to this file")
	f.IntVar(&s.concurrency, "concurrency", 16, "how many handlers run at once")
	f.IntVar(&s.batch, "batch", 1000, "how many messages a batch has, in drain-tx")
	f.DurationVar(&s.gap, "gap", 50*time.Millisecond, "how long idle waits between messages, on average")
	f.DurationVar(&s.length, "for", time.Minute, "how long pinned runs, each time, and how long fleet watches an idle worker")
	f.IntVar(&s.backlog, "backlog", 1_000_000, "how deep the deep backlog is, and how many rows are of the future, in backlog")
	f.Usage = func() { usage(f) }
	if err := f.Parse(args); err != nil {
		return s, err
	}
	return s, s.check(f.Args())
}

// minLength leaves room for rates that are taken once a second.
const minLength = 2500 * time.Millisecond

func (s settings) check(rest []string) error {
	var problems []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	refuse(len(rest) > 0, "unexpected %q", strings.Join(rest, " "))
	refuse(s.n < 0, "-n is %d, it must not be below zero", s.n)
	refuse(s.rounds < 1, "-rounds is %d, it must be at least 1", s.rounds)
	refuse(s.concurrency < 1, "-concurrency is %d, it must be at least 1", s.concurrency)
	refuse(s.batch < 1, "-batch is %d, it must be at least 1", s.batch)
	refuse(s.gap <= 0, "-gap is %v, it must be above zero", s.gap)
	refuse(s.length < minLength, "-for is %v, it must be at least %v", s.length, minLength)
	refuse(s.backlog < 1, "-backlog is %d, it must be at least 1", s.backlog)
	_, err := pickScenarios(s.scenarios)
	problems = append(problems, err)
	if s.systems != "" {
		_, err = pick(s.systems)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func usage(f *flag.FlagSet) {
	out := f.Output()
	fmt.Fprintln(out, "bench measures Letterbox beside other queues on PostgreSQL.")
	fmt.Fprintln(out, "\n  go run . -scenario drain -compare")
	fmt.Fprintln(out)
	f.PrintDefaults()
	fmt.Fprintln(out, "\nscenarios:")
	for _, s := range scenarios {
		fmt.Fprintf(out, "  %-9s %s\n            (%s; -n %d %s)\n", s.name, s.about, strings.Join(s.systems, ", "), s.n, s.what)
	}
	fmt.Fprintf(out, "\nsystems: %s\n", strings.Join(sorted(systems), ", "))
}
