// Command bench measures Letterbox beside other queues on PostgreSQL, and beside the least that any queue on the same
// table has to do. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"syscall"
)

func main() {
	if order := os.Getenv(processVariable); order != "" {
		if err := beWorker(context.Background(), order, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench worker:", err)
			os.Exit(1)
		}
		return
	}
	set, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	// The server of tests is named by this variable; benchmarks take none but the one that -dsn names.
	if err := os.Unsetenv("DATABASE_URL"); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	// A first ctrl-C ends the run and cleans up; a second one ends the program.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := bench(ctx, set, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench measures what the settings ask for. Results go to out, and what happens meanwhile to progress.
func bench(ctx context.Context, set settings, out, progress io.Writer) error {
	if set.counters {
		return countThem(ctx, set, out, progress)
	}
	picked, err := pickScenarios(set.scenarios)
	if err != nil {
		return err
	}
	stopProfile, err := profile(set.profile)
	if err != nil {
		return err
	}
	report, err := measureThem(ctx, set, picked, progress)
	err = errors.Join(err, stopProfile(), allocations(set.allocs))
	if report == nil || len(report.Results) == 0 {
		return err
	}
	return errors.Join(err, report.write(out, set), report.chart(set, progress)) // what was measured is worth keeping
}

// measureThem runs scenarios. With an error it returns what was measured before.
func measureThem(ctx context.Context, set settings, picked []scenario, progress io.Writer) (_ *report, err error) {
	counting := slices.ContainsFunc(picked, func(s scenario) bool { return s.counts })
	server, err := openServer(ctx, set.dsn, counting)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.close(ctx)) }()
	fmt.Fprintln(progress, server.about)
	r := newReport(ctx, server)
	for _, sc := range picked {
		c, err := runScenario(ctx, server, set, sc, progress)
		r.add(c)
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// runScenario runs one scenario with all systems that were asked for.
func runScenario(ctx context.Context, s *server, set settings, sc scenario, progress io.Writer) (comparison, error) {
	names := sc.systems
	if !set.compare {
		names, set.rounds = []string{library}, 1
	}
	if set.systems != "" {
		var err error
		if names, err = pick(set.systems); err != nil {
			return comparison{}, err
		}
	}
	return compare(ctx, s, set, sc, names, progress)
}

// countThem counts instead of measuring.
func countThem(ctx context.Context, set settings, out, progress io.Writer) (err error) {
	server, err := openServer(ctx, set.dsn, true, quiet...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.close(ctx)) }()
	fmt.Fprintln(progress, server.about)
	if !server.counts {
		fmt.Fprintln(progress, "the server has no", statementStats+": statements and buffers are not counted")
	}
	if set.dsn != "" {
		fmt.Fprintln(progress, "with -dsn, vacuum and checkpoints of the server are counted too where they fall into the time")
	}
	all, err := countAll(ctx, server, set)
	if err != nil {
		return err
	}
	return writeCounters(out, baseline{Server: newReport(ctx, server).Server, Counters: all}, set.json)
}

// profile starts a profile of the CPU, where a file is given.
func profile(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// allocations writes the profile of what was allocated, where a file is given.
func allocations(file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
