package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	if order := os.Getenv(workerVariable); order != "" {
		if err := beWorker(order); err != nil {
			fmt.Fprintln(os.Stderr, "faults worker:", err)
			os.Exit(exitBroken)
		}
		return
	}
	set, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(2)
	}
	// A server that is to be crashed is one of our own.
	if err := os.Unsetenv("DATABASE_URL"); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := faults(ctx, set, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

type settings struct {
	lasts    time.Duration
	seed     uint64
	workers  int
	rate     int
	kinds    []kind
	sabotage bool
	keep     bool
}

func parse(args []string, out io.Writer) (settings, error) {
	set := settings{kinds: kinds}
	f := flag.NewFlagSet("faults", flag.ContinueOnError)
	f.SetOutput(out)
	f.DurationVar(&set.lasts, "for", time.Minute, "how long faults are injected")
	f.Uint64Var(&set.seed, "seed", 0, "what faults and load follow from; 0: a new one")
	f.IntVar(&set.workers, "workers", 4, "how many worker processes")
	f.IntVar(&set.rate, "rate", 300, "how many messages are published in a second")
	f.BoolVar(&set.sabotage, "sabotage", false, "take the guard of the lease token out of the workers' statements: the audit must find it")
	f.BoolVar(&set.keep, "keep", false, "keep journals and logs")
	only := f.String("only", "", "inject only the kinds that hold one of these words, with commas between")
	if err := f.Parse(args); err != nil {
		return set, err
	}
	if f.NArg() > 0 {
		return set, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if set.lasts <= 0 || set.workers < 1 || set.rate < 1 {
		return set, errors.New("-for, -workers and -rate must be above zero")
	}
	for set.seed == 0 {
		set.seed = rand.Uint64() >> 32 // short enough to be typed
	}
	if *only != "" {
		words := strings.Split(*only, ",")
		set.kinds = slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(k.name, w) })
		})
		if len(set.kinds) == 0 {
			return set, fmt.Errorf("-only %q: no kind of fault is called like that", *only)
		}
	}
	return set, nil
}

// errFound says that the audit found something.
var errFound = errors.New("the audit found something")

// faults is a whole run. The report goes to out, and what happens meanwhile to progress.
func faults(ctx context.Context, set settings, out, progress io.Writer) (err error) {
	s := &stage{set: set, injected: map[string]int64{}}
	fmt.Fprintf(progress, "seed %d; building workers\n", set.seed)
	building := time.Now()
	defer func() {
		expected := set.sabotage && errors.Is(err, errFound)
		keep := set.keep || err != nil && ctx.Err() == nil && !expected
		err = errors.Join(err, s.close(keep))
		if keep {
			fmt.Fprintln(progress, "journals and logs are in", s.dir)
		}
	}()
	if err := s.setUp(ctx); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	fmt.Fprintf(progress, "%.1f s; %s\n", time.Since(building).Seconds(), s.server.Origin())
	if err := s.perform(ctx, progress); err != nil {
		return err
	}
	fmt.Fprintln(progress, "audit")
	runs, err := readJournals(s.dir)
	if err != nil {
		return err
	}
	found, err := audit(ctx, s.admin, runs)
	if err != nil {
		return err
	}
	for _, w := range s.slots {
		err = errors.Join(err, w.surprises())
	}
	if err != nil {
		found.breaches = append(found.breaches, breach{rule: "workers end when they are told to, and in time", lines: []string{err.Error()}, count: 1})
	}
	if err := report(out, s, found); err != nil {
		return err
	}
	if len(found.breaches) > 0 {
		return errFound
	}
	return nil
}

// perform publishes, handles and injects faults, then mends everything and waits until nothing is left to do.
func (s *stage) perform(ctx context.Context, progress io.Writer) error {
	for _, w := range s.slots {
		if err := w.start(0); err != nil {
			return err
		}
	}
	tend, stopTending := context.WithCancel(ctx)
	var tending sync.WaitGroup
	for _, w := range s.slots {
		tending.Go(func() { w.tend(tend) })
	}
	defer tending.Wait()
	defer stopTending()

	load, stopLoad := context.WithCancel(ctx)
	waitForLoad := s.pub.start(load)
	err := s.injectAll(ctx, progress)
	stopLoad()
	waitForLoad()
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "%d transactions committed, %d rolled back, %d failed; waiting for the rest to be handled\n",
		s.pub.commits.Load(), s.pub.rollbacks.Load(), s.pub.failures.Load())
	began := time.Now()
	left, err := s.settle(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "%d left after %.1f s\n", left, time.Since(began).Seconds())
	stopTending()
	tending.Wait()
	for _, w := range s.slots {
		took, err := w.drain()
		s.drained(took)
		w.note(err)
	}
	return ctx.Err()
}

// injectAll injects faults for the time that was asked for, and returns when all are over.
func (s *stage) injectAll(ctx context.Context, progress io.Writer) error {
	until, cancel := context.WithTimeout(ctx, s.set.lasts)
	defer cancel()
	began := time.Now()
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		errs    []error
	)
	for n := range lanes {
		running.Go(func() {
			for f := range lane(s.set.seed, n, s.set.kinds) {
				pause(until, f.after)
				if until.Err() != nil {
					return
				}
				mu.Lock()
				fmt.Fprintf(progress, "%6.1f s: %s (%v)\n", time.Since(began).Seconds(), f.kind.name, f.lasts.Round(time.Millisecond))
				mu.Unlock()
				err := f.kind.inject(ctx, s, f)
				s.count(f.kind.name)
				if err != nil {
					mu.Lock()
					errs = append(errs, fmt.Errorf("%s: %w", f.kind.name, err))
					mu.Unlock()
					cancel()
				}
			}
		})
	}
	running.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

// settleLimit is how long nothing may happen, once all is well, while something is left. That is a finding then.
const settleLimit = time.Minute

// settle waits until nothing is left.
func (s *stage) settle(ctx context.Context) (left int64, err error) {
	least, at := int64(math.MaxInt64), time.Now()
	for {
		err := s.insist(ctx, func(ctx context.Context) error {
			return s.admin.QueryRow(ctx, `SELECT count(*) FROM outbox`).Scan(&left)
		})
		if err != nil || left == 0 || ctx.Err() != nil {
			return left, err
		}
		if left < least {
			least, at = left, time.Now()
		}
		if time.Since(at) > settleLimit {
			return left, nil
		}
		pause(ctx, 200*time.Millisecond)
	}
}
