package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// slot is a place for a worker process, with its ways to the server. A process that ends is followed by another: when it
// was told to end, when a message killed it, and also when nobody knows why, which is a finding.
type slot struct {
	number   int
	program  string
	dir      string // for journals and logs
	database string
	wire     *wire // for its work
	ears     *wire // for LISTEN

	busy sync.Mutex // held by a fault that a second one would make meaningless

	mu       sync.Mutex // what follows
	current  *process
	started  int
	surprise []error
}

// process is a worker process.
type process struct {
	cmd     *exec.Cmd
	name    string
	journal string
	in      io.WriteCloser
	gone    chan struct{} // closed once it has ended
	err     error         // then
}

// start begins a process in the slot.
func (s *slot) start(skew time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started++
	p := &process{name: fmt.Sprintf("worker-%d.%d", s.number, s.started), gone: make(chan struct{})}
	p.journal = filepath.Join(s.dir, p.name+journalSuffix)
	order, err := json.Marshal(workerOrder{
		Name: p.name, DSN: s.wire.dsn(s.database), ListenDSN: s.ears.dsn(s.database), Journal: p.journal, Skew: skew,
	})
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.dir, p.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	p.cmd = exec.Command(s.program)
	p.cmd.Env = append(os.Environ(), workerVariable+"="+string(order), skewVariable+"="+strconv.Itoa(int(skew.Seconds())))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// An interrupt from the terminal is for the harness.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	s.current = p
	go func() {
		p.err = p.cmd.Wait()
		close(p.gone)
	}()
	return nil
}

// process is the one that runs now, or ran last.
func (s *slot) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) } // it may have ended

// tend starts a process whenever one has ended by itself, until ctx ends.
func (s *slot) tend(ctx context.Context) {
	for {
		p := s.process()
		select {
		case <-ctx.Done():
			return
		case <-p.gone:
		}
		s.busy.Lock()
		if s.process() == p { // nobody has seen to it
			s.note(p.unexpected())
			s.note(s.start(0))
		}
		s.busy.Unlock()
	}
}

// unexpected is an error where the process ended otherwise than by SIGKILL, which a message can have sent.
func (p *process) unexpected() error {
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return nil
		}
	}
	return fmt.Errorf("%s ended by itself: %v", p.name, p.err)
}

// grown says that the process has come as far as listening to signals.
func (p *process) grown() bool {
	_, err := os.Stat(p.journal)
	return err == nil
}

func (s *slot) note(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.surprise = append(s.surprise, err)
}

// surprises are what nobody expected.
func (s *slot) surprises() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.surprise...)
}

// drainLimit is how long a worker may take to end: queue.Worker.Run takes at most 5 s after the grace period, and the
// machine is busy.
const drainLimit = graceTime + 5*time.Second + 5*time.Second

// drain tells the process to end, and waits for it. One that takes too long is killed, and an error.
func (s *slot) drain() (took time.Duration, err error) {
	p := s.process()
	began := time.Now()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.gone:
		took = time.Since(began)
		if p.err != nil && p.unexpected() != nil && p.grown() {
			return took, fmt.Errorf("%s was told to end: %w", p.name, p.err)
		}
		return took, nil
	case <-time.After(drainLimit):
		p.signal(syscall.SIGQUIT) // its stacks go into its log
		time.Sleep(time.Second)
		s.kill()
		return drainLimit, fmt.Errorf("%s was told to end, and had not after %v", p.name, drainLimit)
	}
}

func (s *slot) kill() {
	p := s.process()
	p.signal(syscall.SIGKILL)
	<-p.gone
}
