// Command letterbox looks after an outbox: it makes and checks its tables, shows what is in them and why a message does not
// run, publishes, and replays, cancels and purges. See README.md, or letterbox --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

func main() {
	// A first ctrl-C ends the command where that leaves nothing half done. A second one ends the program, as soon as the
	// command may have said so: signals are let go before the context ends.
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals)
		cancel()
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run runs one command and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	t := &tool{in: in, out: out, errs: errs}
	root := newRoot(t)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	at, err := root.ExecuteContextC(ctx)
	t.close()
	code := exitCode(ctx, t, err)
	if err == nil || errors.Is(err, errSaid) {
		return code
	}
	fmt.Fprintf(errs, "letterbox: %v\n", err)
	_, drifted := errors.AsType[*queue.SchemaError](err)
	switch {
	case code == exitUsage:
		fmt.Fprintf(errs, "See '%s --help'.\n", at.CommandPath())
	case errors.Is(err, queue.ErrNoTable) && !drifted: // which has listed what is missing, and what makes it
		fmt.Fprintln(errs, "Here, 'letterbox migrate up' makes what is missing, and 'letterbox validate' says what that is.")
	}
	return code
}

// Exit codes. They are in the help, and scripts rely on them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotInOrder  = 3
	exitInterrupted = 130 // as a shell has it: 128 and the number of SIGINT
)

var (
	// errSaid ends a command that failed and has said so.
	errSaid = errors.New("said already")
	// errNotInOrder ends a command that was to look, and did, and found something.
	errNotInOrder = fmt.Errorf("not in order: %w", errSaid)
	// errInterrupted is the end of the command's context by a signal.
	errInterrupted = errors.New("interrupted")
)

// usageError is a mistake in how the command was called that only the command itself can see.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func exitCode(ctx context.Context, t *tool, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		return exitInterrupted
	case !t.began || errors.As(err, &usage): // what cobra refuses never begins
		return exitUsage
	case errors.Is(err, queue.ErrInvalid), errors.Is(err, dlq.ErrInvalid), errors.Is(err, timers.ErrInvalid):
		return exitUsage
	case errors.Is(err, errNotInOrder):
		return exitNotInOrder
	}
	return exitFailed
}
