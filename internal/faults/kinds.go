package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// kind is a kind of fault.
type kind struct {
	name string
	// shortest and longest are how long it lasts.
	shortest, longest time.Duration
	// inject does it and lasts for f.lasts.
	inject func(ctx context.Context, s *stage, f fault) error
}

// kinds are all there are. Beside them stand those that messages bring; see step.
var kinds = []kind{
	{"SIGKILL of a worker", 0, time.Second, killWorker},
	{"SIGSTOP of a worker, SIGCONT once its leases are gone", leaseTime, 2 * leaseTime, pauseWorker},
	{"SIGSTOP of a worker, SIGCONT before", 100 * time.Millisecond, leaseTime / 2, pauseWorker},
	{"SIGTERM of every worker, one after the other", 0, 0, rollWorkers},
	{"a worker's clock hours off", time.Second, 8 * time.Second, skewClock},
	{"pg_terminate_backend of every connection", 0, 0, terminateAll},
	{"immediate stop and restart of PostgreSQL", 0, 0, crashServer},
	{"a process's connections hang", 500 * time.Millisecond, 8 * time.Second, onWire(hang)},
	{"a process's connections are reset", 200 * time.Millisecond, 3 * time.Second, onWire(drop)},
	{"a process's packets are late", 2 * time.Second, 6 * time.Second, onWire(slow(150 * time.Millisecond))},
	{"a process's packets are later than its lease", leaseTime, 3 * leaseTime, onWire(slow(leaseTime + leaseTime/2))},
	{"all connections hang", 500 * time.Millisecond, 5 * time.Second, hangAll},
	{"a listener goes dead, and nobody says so", 3 * time.Second, 10 * time.Second, deafen},
	{"the dead-letter table is dropped", time.Second, 6 * time.Second, dropDeadLetters},
	{"a worker's pool is used up", 2 * time.Second, 6 * time.Second, hogPool},
}

func killWorker(ctx context.Context, s *stage, f fault) error {
	w := s.slot(f)
	w.busy.Lock()
	defer w.busy.Unlock()
	w.kill()
	pause(ctx, f.lasts)
	return w.start(0)
}

func pauseWorker(ctx context.Context, s *stage, f fault) error {
	w := s.slot(f)
	w.busy.Lock()
	defer w.busy.Unlock()
	p := w.process()
	p.signal(syscall.SIGSTOP)
	pause(ctx, f.lasts)
	p.signal(syscall.SIGCONT)
	return nil
}

func rollWorkers(ctx context.Context, s *stage, _ fault) error {
	for _, w := range s.slots {
		err := func() error {
			w.busy.Lock()
			defer w.busy.Unlock()
			took, err := w.drain()
			s.drained(took)
			w.note(err)
			return w.start(0)
		}()
		if err != nil {
			return err
		}
	}
	return nil
}

// skewClock has a worker with a wrong clock, and leaves it there.
func skewClock(ctx context.Context, s *stage, f fault) error {
	w := s.slot(f)
	w.busy.Lock()
	defer w.busy.Unlock()
	w.kill()
	return w.start(time.Duration(f.number%25-12) * time.Hour)
}

func terminateAll(ctx context.Context, s *stage, _ fault) error {
	return s.tell(ctx, `
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND application_name <> $1 AND pid <> pg_backend_pid()`, adminName)
}

func crashServer(ctx context.Context, s *stage, _ fault) error {
	s.serverBusy.Lock()
	defer s.serverBusy.Unlock()
	at := time.Now()
	if err := s.server.Restart(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	return s.tell(ctx, "INSERT INTO faults.crash VALUES ($1)", at)
}

// onWire afflicts the way of a worker, or that of the publishers.
func onWire(t toxic) func(context.Context, *stage, fault) error {
	return func(ctx context.Context, s *stage, f fault) error {
		wires := s.wires()
		return lastOn(ctx, f.lasts, t, wires[f.target%len(wires)])
	}
}

func hangAll(ctx context.Context, s *stage, f fault) error {
	return lastOn(ctx, f.lasts, hang, s.wires()...)
}

func deafen(ctx context.Context, s *stage, f fault) error {
	return lastOn(ctx, f.lasts, hang, s.slot(f).ears)
}

// lastOn afflicts ways for a time. A way has one affliction at a time.
func lastOn(ctx context.Context, lasts time.Duration, t toxic, wires ...*wire) (err error) {
	for _, w := range wires { // in the same order for everyone
		w.busy.Lock()
		defer w.busy.Unlock()
		heal, afflictErr := w.afflict(t)
		defer func() { err = errors.Join(err, heal(context.WithoutCancel(ctx))) }()
		if afflictErr != nil {
			return afflictErr
		}
	}
	pause(ctx, lasts)
	return nil
}

// dropDeadLetters drops the table, once what is in it is safe.
func dropDeadLetters(ctx context.Context, s *stage, f fault) error {
	s.lettersBusy.Lock()
	defer s.lettersBusy.Unlock()
	if err := s.tell(ctx, `
		DO $$ BEGIN
		  LOCK TABLE outbox_dlq IN ACCESS EXCLUSIVE MODE;
		  INSERT INTO faults.kept TABLE outbox_dlq;
		  DROP TABLE outbox_dlq;
		END $$`); err != nil {
		return err
	}
	pause(ctx, f.lasts)
	return s.insist(ctx, func(ctx context.Context) error { return box.Create(ctx, s.admin) })
}

func hogPool(ctx context.Context, s *stage, f fault) error {
	p := s.slot(f).process()
	_, _ = io.WriteString(p.in, fmt.Sprintf("hog %v\n", f.lasts)) // it may have ended
	return nil
}

// tell runs a statement of the harness's own until it has gone through.
func (s *stage) tell(ctx context.Context, sql string, args ...any) error {
	return s.insist(ctx, func(ctx context.Context) error {
		_, err := s.admin.Exec(ctx, sql, args...)
		return err
	})
}

// insistFor is how long a statement of the harness may fail before that is an error.
const insistFor = 30 * time.Second

// insist calls f until it succeeds: the server may be down by another fault.
func (s *stage) insist(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), insistFor)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		pause(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			return err
		}
	}
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
