//go:build unix && !aix && !solaris

package pgserver

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

//go:embed supervise.sh
var superviseScript []byte

const (
	// poll is how often we look whether a command has got on. Neither initdb nor postgres can tell us otherwise.
	poll = 5 * time.Millisecond
	// tailSize is how much of a log an error shows.
	tailSize = 2048
)

// supervise starts the folder's supervisor, which waits for begin.
func (f *folder) supervise(command []string) (err error) {
	script := filepath.Join(f.path, scriptName)
	if err := os.WriteFile(script, superviseScript, 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(f.path, logName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	for _, path := range []string{script, log.Name(), f.path} {
		if err := f.who.own(path); err != nil {
			return err
		}
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, read.Close()) }()

	cmd := exec.Command("/bin/sh", append([]string{script, f.path}, command...)...)
	cmd.Dir = "/" // ours may be closed to the account
	// A foreign locale or a PG* variable would break initdb or the server.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/bin:/bin", "HOME=" + f.path, "LC_ALL=C", "TZ=UTC"}
	cmd.Stdin = read
	cmd.Stdout, cmd.Stderr = log, log   // never ours: go test waits until nobody holds its output any more
	cmd.ExtraFiles = []*os.File{f.lock} // the shell and the command keep it open
	// A session of its own: a ctrl-C or the end of the terminal reaches us, and the supervisor only through us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: f.who.credential()}
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("starting /bin/sh: %w", f.who.explain(err)), write.Close())
	}
	f.pipe = write
	// This also keeps the pipe's end from the garbage collector, which would close it, where a caller keeps only a DSN.
	go func() {
		_ = cmd.Wait() // its status says nothing that close does not see
		close(f.gone)
	}()
	return nil
}

// begin starts the folder's command. Where it runs, it is stopped first, at once.
func (f *folder) begin() error {
	if _, err := f.pipe.WriteString("go\n"); err != nil {
		return fmt.Errorf("starting a command in %s: %w", f.path, err)
	}
	return nil
}

// forgotten waits until the end of a command, where it ended by itself before begin was called again, is no longer told.
func (f *folder) forgotten(ctx context.Context) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if _, err := os.Stat(filepath.Join(f.path, exitName)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-f.gone:
			return fmt.Errorf("the supervisor in %s was killed", f.path)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// await waits for the command called name: until ready says so, or for its end with status 0 where ready is nil. Its end
// otherwise, and the end of ctx, are errors with the end of its log.
func (f *folder) await(ctx context.Context, name string, ready func() bool) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if ready != nil && ready() {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(f.path, exitName))
		if status, whole := strings.CutSuffix(string(text), "\n"); err == nil && whole {
			if status == "0" && ready == nil {
				return nil
			}
			return f.withLog(fmt.Errorf("%s ended with status %s", name, status))
		}
		select {
		case <-f.gone:
			return fmt.Errorf("the supervisor of %s in %s was killed", name, f.path)
		case <-ctx.Done():
			return f.withLog(fmt.Errorf("waiting for %s: %w", name, context.Cause(ctx)))
		case <-tick.C:
		}
	}
}

// withLog adds the end of the command's log to its error.
func (f *folder) withLog(err error) error {
	log, readErr := os.ReadFile(filepath.Join(f.path, logName))
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	if len(log) > tailSize {
		log = log[len(log)-tailSize:]
	}
	return fmt.Errorf("%w; its log ends with\n%s", err, strings.TrimSpace(string(log)))
}
