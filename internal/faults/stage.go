package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
)

// stage is everything that a run is made of.
type stage struct {
	set      settings
	dir      string // for programs, journals and logs
	server   *pgserver.Server
	database string
	admin    *pgxpool.Pool // by the server's socket, which no fault touches
	pub      *publishers
	pubWire  *wire
	slots    []*slot

	serverBusy, lettersBusy sync.Mutex

	mu       sync.Mutex // what follows
	injected map[string]int64
	slowest  time.Duration // drain
	closers  []func() error
}

// adminName is what the harness's own connections say they are.
const adminName = "faults admin"

// setUp makes the stage. close is to be called also where it fails.
func (s *stage) setUp(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "letterbox-faults-"); err != nil {
		return err
	}
	program, err := build(ctx, s.dir, s.set.sabotage)
	if err != nil {
		return err
	}
	port, err := pgserver.FreePort()
	if err != nil {
		return err
	}
	s.server, err = pgserver.Start(ctx, pgserver.Durable(), pgserver.OnPort(port), pgserver.Config("max_connections", "200"))
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.server.Close)
	if err := s.connect(ctx); err != nil {
		return err
	}
	open := func(name string) (w *wire, err error) {
		if w, err = openWire(name, fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			s.closers = append(s.closers, func() error { w.close(); return nil })
		}
		return w, err
	}
	if err := s.openPublishers(ctx, open); err != nil {
		return err
	}
	for i := range s.set.workers {
		w := &slot{number: i + 1, program: program, dir: s.dir, database: s.database}
		if w.wire, err = open(fmt.Sprintf("worker %d", i+1)); err != nil {
			return err
		}
		if w.ears, err = open(fmt.Sprintf("listener %d", i+1)); err != nil {
			return err
		}
		s.slots = append(s.slots, w)
	}
	return nil
}

// connect makes the tables.
func (s *stage) connect(ctx context.Context) error {
	dsn, _, err := s.server.CreateDatabase(ctx, "") // it goes with the server
	if err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return err
	}
	s.database = config.ConnConfig.Database
	config.ConnConfig.RuntimeParams["application_name"] = adminName
	if s.admin, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	s.closers = append(s.closers, func() error { s.admin.Close(); return nil })
	if err := box.Create(ctx, s.admin); err != nil {
		return err
	}
	_, err = s.admin.Exec(ctx, schemaSQL)
	return err
}

func (s *stage) openPublishers(ctx context.Context, open func(string) (*wire, error)) (err error) {
	if s.pubWire, err = open("publishers"); err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(s.pubWire.dsn(s.database))
	if err != nil {
		return err
	}
	config.ConnConfig.RuntimeParams["application_name"] = "publisher"
	config.MaxConns = publisherCount
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() error { pool.Close(); return nil })
	s.pub = &publishers{pool: pool, seed: s.set.seed, rate: s.set.rate}
	return nil
}

// close ends everything, the last first. Journals and logs are kept where there is something to find in them.
func (s *stage) close(keep bool) error {
	var errs []error
	for _, w := range s.slots {
		if w.process() != nil {
			w.kill()
		}
	}
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		errs = append(errs, s.closers[last]())
		s.closers = s.closers[:last]
	}
	if s.dir != "" && !keep {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// slot is the one that a fault is for.
func (s *stage) slot(f fault) *slot { return s.slots[f.target%len(s.slots)] }

// wires are the ways that are used for work, those of workers and of publishers.
func (s *stage) wires() []*wire {
	wires := []*wire{s.pubWire}
	for _, w := range s.slots {
		wires = append(wires, w.wire)
	}
	return wires
}

func (s *stage) drained(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slowest = max(s.slowest, took)
}

func (s *stage) count(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.injected[name]++
}
