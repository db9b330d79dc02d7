package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Worker processes are this very program, started again. Such a process is told what to do by an environment variable,
// says that it is ready, begins when its standard input has a line, writes the number of every message that it handles to
// its standard output, and stops when its input ends.

// processVariable is the environment variable, processOrder what it holds.
const processVariable = "LETTERBOX_BENCH_WORKER"

type processOrder struct {
	DSN         string
	Schema      string
	System      string
	Concurrency int
	Batch       int
}

// lostLeases, among the numbers, says that the next one counts leases.
const lostLeases = ^uint32(0)

// inProcesses handles all that the audit expects, in so many processes. It takes from when they are told to begin until
// all have ended.
func (r *run) inProcesses(ctx context.Context, db *database, n int, a *audit) (took time.Duration, lost int, err error) {
	order, err := json.Marshal(processOrder{
		DSN: db.server.dsn, Schema: db.schema, System: r.result.System, Concurrency: r.set.concurrency, Batch: r.set.batch,
	})
	if err != nil {
		return 0, 0, err
	}
	children := make([]*process, n)
	defer func() {
		for _, c := range children {
			if c != nil {
				err = errors.Join(err, c.end())
			}
		}
	}()
	for i := range children {
		if children[i], err = startProcess(ctx, string(order)); err != nil {
			return 0, 0, err
		}
	}
	for _, c := range children {
		if err := c.ready(); err != nil {
			return 0, 0, err
		}
	}
	group, watch := errgroup.WithContext(ctx)
	began := time.Now()
	losses := make([]int, n)
	for i, c := range children {
		if _, err := io.WriteString(c.in, "go\n"); err != nil {
			return 0, 0, err
		}
		group.Go(func() (err error) {
			losses[i], err = c.read(a.handle)
			return err
		})
	}
	err = a.wait(watch)
	for _, c := range children {
		_ = c.in.Close() // stops it; end says what went wrong
	}
	err = errors.Join(err, group.Wait())
	for _, c := range children {
		err = errors.Join(err, c.end())
	}
	took = time.Since(began)
	for _, n := range losses {
		lost += n
	}
	return took, lost, err
}

// process is a worker process.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	end func() error // ends it, and returns what it says at its end; idempotent
}

func startProcess(ctx context.Context, order string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), processVariable+"="+order)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	p := &process{cmd: cmd}
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReaderSize(out, 1<<16)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a worker process: %w", err)
	}
	p.end = sync.OnceValue(func() error {
		_ = p.in.Close()
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("a worker process: %w", err)
		}
		return nil
	})
	return p, nil
}

// ready waits until the process is.
func (p *process) ready() error {
	if _, err := p.out.ReadString('\n'); err != nil {
		return errors.Join(fmt.Errorf("wait for a worker process: %w", err), p.end())
	}
	return nil
}

// read passes numbers on until the process has no more.
func (p *process) read(handle func(number int)) (lost int, err error) {
	var b [4]byte
	next := func() (uint32, error) {
		_, err := io.ReadFull(p.out, b[:])
		return binary.LittleEndian.Uint32(b[:]), err
	}
	for {
		n, err := next()
		if err == nil && n == lostLeases {
			n, err = next()
			lost += int(n)
			if err == nil {
				continue
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return lost, nil
		case err != nil:
			return lost, fmt.Errorf("read from a worker process: %w", err)
		}
		handle(int(n))
	}
}

// beWorker is the other side: the program as a worker process.
func beWorker(ctx context.Context, text string, in io.Reader, out io.Writer) error {
	var order processOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return fmt.Errorf("read %s: %w", processVariable, err)
	}
	if _, err := io.WriteString(out, "ready\n"); err != nil {
		return err
	}
	lines := bufio.NewReader(in)
	if _, err := lines.ReadString('\n'); err != nil {
		return nil // nobody wants anything any more
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = lines.ReadByte() // until the input ends
		stop()
	}()
	report := newReporter(out)
	db := &database{server: &server{dsn: order.DSN}, schema: order.Schema, trips: new(roundTrips)}
	set := settings{concurrency: order.Concurrency, batch: order.Batch}
	lost, err := worker{db: db, handle: report.handle}.start(ctx, systems[order.System], set)
	return errors.Join(err, report.close(lost))
}

// reporter writes numbers, a few milliseconds' worth at a time.
type reporter struct {
	mu  sync.Mutex
	out *bufio.Writer
	end chan struct{}
}

func newReporter(out io.Writer) *reporter {
	r := &reporter{out: bufio.NewWriterSize(out, 1<<14), end: make(chan struct{})}
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-r.end:
				return
			case <-tick.C:
				r.mu.Lock()
				_ = r.out.Flush() // its error comes back at the end
				r.mu.Unlock()
			}
		}
	}()
	return r
}

func (r *reporter) handle(number int) { r.write(uint32(number)) }

func (r *reporter) write(n uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.out.Write(binary.LittleEndian.AppendUint32(nil, n))
}

func (r *reporter) close(lost int) error {
	close(r.end)
	if lost > 0 {
		r.write(lostLeases)
		r.write(uint32(lost))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Flush()
}
