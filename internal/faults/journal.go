package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// A journal is the file in which a worker process writes what its handlers do: a line when a run begins, and one before
// the handler returns. A line that was written is kept however the process ends.
type journal struct {
	file *os.File
	skew time.Duration // of the process's clock
	last atomic.Int64
}

// line is one line of a journal.
type line struct {
	Run int64 `json:"run"` // of the process
	// These are of a line that begins a run.
	ID       int64  `json:"id,omitempty"`
	Key      int64  `json:"key,omitempty"`
	Held     bool   `json:"held,omitempty"` // in the transaction that locks the row: there is no lease
	Attempt  int64  `json:"attempt,omitempty"`
	Delivery int64  `json:"delivery,omitempty"`
	Claimed  int64  `json:"claimed,omitempty"` // µs of the database's clock
	Outcome  string `json:"outcome,omitempty"` // of one that ends it
	At       int64  `json:"at"`                // µs of the machine's clock
}

func openJournal(path string, skew time.Duration) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	return &journal{file: f, skew: skew}, err
}

func (j *journal) write(l line) {
	l.At = time.Now().Add(-j.skew).UnixMicro()
	b, err := json.Marshal(l)
	if err == nil {
		_, err = j.file.Write(append(b, '\n'))
	}
	if err != nil { // a run that is not written down must not happen
		fmt.Fprintln(os.Stderr, "faults worker: journal:", err)
		os.Exit(exitBroken)
	}
}

// begin writes that a run begins. Its end takes the outcome.
func (j *journal) begin(l line) (end func(outcome string)) {
	l.Run = j.last.Add(1)
	j.write(l)
	return func(outcome string) { j.write(line{Run: l.Run, Outcome: outcome}) }
}

// run is a run as the journals tell it.
type run struct {
	worker  string
	began   line
	ended   int64 // 0: it did not
	outcome string
}

// readJournals reads all journals of a folder. A file's name is its worker's.
func readJournals(dir string) (runs []run, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"+journalSuffix))
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		worker := filepath.Base(name)
		some, err := readJournal(worker[:len(worker)-len(journalSuffix)], f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		runs = append(runs, some...)
	}
	return runs, nil
}

const journalSuffix = ".journal"

func readJournal(worker string, from io.Reader) ([]run, error) {
	var runs []run
	at := map[int64]int{}
	lines := bufio.NewReader(from)
	for {
		text, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return runs, nil // what is left was cut off with its process
		}
		if err != nil {
			return nil, err
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, err
		}
		if l.Outcome == "" {
			at[l.Run] = len(runs)
			runs = append(runs, run{worker: worker, began: l})
			continue
		}
		i, ok := at[l.Run]
		if !ok {
			return nil, fmt.Errorf("run %d ends and never began", l.Run)
		}
		runs[i].ended, runs[i].outcome = l.At, l.Outcome
	}
}

// loadRuns puts runs where the audit finds them.
func loadRuns(ctx context.Context, tx pgx.Tx, runs []run) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"faults", "run"},
		[]string{"worker", "run", "id", "key", "held", "attempt", "delivery", "claimed_at", "started_at", "ended_at", "outcome"},
		pgx.CopyFromSlice(len(runs), func(i int) ([]any, error) {
			r := runs[i]
			var ended, outcome any
			if r.outcome != "" {
				ended, outcome = time.UnixMicro(r.ended), r.outcome
			}
			b := r.began
			return []any{r.worker, b.Run, b.ID, b.Key, b.Held, b.Attempt, b.Delivery, time.UnixMicro(b.Claimed),
				time.UnixMicro(b.At), ended, outcome}, nil
		}))
	return err
}
