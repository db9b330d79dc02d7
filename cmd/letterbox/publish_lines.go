package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
)

// What goes to the database at once.
const (
	batchLines = 1000
	batchBytes = 4 << 20
)

// lines reads messages, one a line.
type lines struct {
	from   *bufio.Reader
	p      *publication
	number int64 // of the line that was read last
	bytes  int64
	ended  bool
}

// next is the next payload; false where there is none.
func (l *lines) next() ([]byte, bool, error) {
	for !l.ended {
		raw, err := l.read()
		if errors.Is(err, io.EOF) {
			l.ended, err = true, nil
			if len(raw) == 0 {
				return nil, false, nil
			}
		}
		l.number++
		if err == nil && len(trimSpace(raw)) == 0 {
			continue
		}
		if err == nil {
			raw, err = l.p.payload(raw)
		}
		if err != nil {
			return nil, false, fmt.Errorf("line %d %w", l.number, err)
		}
		return raw, true, nil
	}
	return nil, false, nil
}

// read reads a line without its end, and no more of it than a message can hold.
func (l *lines) read() (line []byte, err error) {
	for {
		part, err := l.from.ReadSlice('\n')
		l.bytes += int64(len(part))
		if line = append(line, part...); len(line) > queue.DefaultMaxBytes+2 {
			return nil, fmt.Errorf("is larger than %d bytes: %w", queue.DefaultMaxBytes, queue.ErrTooLarge)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("cannot be read: %w", err)
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		return bytes.TrimSuffix(line, []byte("\r")), err
	}
}

func trimSpace(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

// some reads messages for one statement, and no more than so many (zero: any number).
func (l *lines) some(most int) (drafts []queue.Draft, err error) {
	for bytes := 0; len(drafts) < batchLines && bytes < batchBytes && (most == 0 || len(drafts) < most); {
		payload, ok, err := l.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		drafts = append(drafts, l.p.queue.Draft(payload, l.p.options...))
		bytes += len(payload)
	}
	return drafts, nil
}

// publishLines publishes each line. What it says in the end holds, whatever the error.
func (t *tool) publishLines(ctx context.Context, p *publication, in io.Reader, total int64) error {
	pool, err := t.connect(ctx)
	if err != nil {
		return err
	}
	l := &lines{from: bufio.NewReaderSize(in, 64<<10), p: p}
	shows := t.progressBytes(total, "publishing")
	for !l.ended && err == nil {
		err = p.commit(ctx, pool, l, shows)
	}
	shows.end()
	switch err = t.explain(ctx, err); {
	case errors.Is(err, errUncertain):
		err = fmt.Errorf("%s published for certain; of those after line %d: %w", plural(p.published, "message"), p.line, err)
	case err != nil && p.published > 0:
		err = fmt.Errorf("%s published before, and committed: %w", plural(p.published, "message"), refused(err))
	case err != nil:
		err = fmt.Errorf("nothing was published: %w", refused(err))
	case p.published == 0:
		err = errors.New("nothing was published: there is no line with anything in it")
	}
	if p.published == 0 {
		return err
	}
	return errors.Join(err, p.report(t))
}

// commit publishes in one transaction what is left of the lines, or as many as are to be committed at once. It begins when
// there is something to publish, so that it does not stay open while nobody writes.
func (p *publication) commit(ctx context.Context, pool *pgxpool.Pool, l *lines, shows *bar) error {
	drafts, err := l.some(p.batchCommit)
	if err != nil || len(drafts) == 0 {
		return err
	}
	var ids []int64
	err = transact(ctx, pool, func(tx pgx.Tx) error {
		for len(drafts) > 0 {
			some, err := queue.Publish(ctx, tx, drafts...)
			if err != nil {
				return err
			}
			ids = append(ids, some...)
			shows.to(l.bytes)
			if len(ids) == p.batchCommit {
				return nil
			}
			if drafts, err = l.some(max(0, p.batchCommit-len(ids))); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		p.published, p.line = p.published+int64(len(ids)), l.number
		if p.asJSON || p.ids {
			p.publishedIDs = append(p.publishedIDs, ids...)
		}
	}
	return err
}

// report says what was published.
func (p *publication) report(t *tool) error {
	if p.asJSON {
		return p.print(t)
	}
	for _, id := range p.publishedIDs {
		t.line("%d", id)
	}
	if !p.ids {
		t.line("published %s to queue %q", plural(p.published, "message"), p.queue.Name())
	}
	return nil
}
