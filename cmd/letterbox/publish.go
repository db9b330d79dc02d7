package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/queue"
)

// publication is what is to be published, as the flags say.
type publication struct {
	data, file    string
	lines         bool
	batchCommit   int
	contentType   string
	correlationID string
	headers       []string
	delay         age
	ids, asJSON   bool
	given         bool // --data is
	options       []queue.PublishOption
	queue         queue.Queue
	checkJSON     bool
	published     int64 // and committed
	line          int64 // of the last of these
	publishedIDs  []int64
}

func newPublish(t *tool) *cobra.Command {
	var p publication
	c := &cobra.Command{
		Use:   "publish QUEUE",
		Short: "Publish a message, or a file of them",
		Long: `publish writes a message to a queue: the payload is --data, a --file, or standard input, byte for byte, but for white space
around JSON. It prints the message's id.

With --lines each line is a message, without its end; lines that are empty or white space are passed over. All are
published in one transaction, so that there are all of them or none. Input that takes long keeps that open, which holds up
VACUUM: --batch-commit commits each so many lines, and after a failure says how many are published.

Payloads must be JSON unless --content-type says that they are something else. A payload may have 1 MiB.
Any name is a queue; see 'letterbox status' for those that there are.`,
		Example: `  letterbox publish orders.placed --data '{"id":7}'
  letterbox publish orders.placed --header source=import --delay 15m --file order.json
  letterbox publish orders.placed --lines --file orders.jsonl
  letterbox publish orders.placed --lines --batch-commit 1000
  letterbox publish raw --content-type application/octet-stream --file picture.png`,
		Args:              args("QUEUE"),
		ValidArgsFunction: t.queues,
		RunE: func(c *cobra.Command, args []string) (err error) {
			p.given = c.Flags().Changed("data")
			if p.queue, err = t.queue(args[0]); err == nil {
				err = t.publish(c.Context(), &p)
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&p.data, "data", "", "the payload")
	f.StringVar(&p.file, "file", "", "file with the payload (default: standard input)")
	f.BoolVar(&p.lines, "lines", false, "each line is a message")
	f.IntVar(&p.batchCommit, "batch-commit", 0, "with --lines: commit each so many (default: all at once)")
	f.StringVar(&p.contentType, "content-type", "application/json", "header content-type; empty for none")
	f.StringVar(&p.correlationID, "correlation-id", "", "header correlation_id (default: a random UUID for each)")
	f.StringArrayVar(&p.headers, "header", nil, "further header, name=value; can be repeated")
	f.Var(&p.delay, "delay", "how much later than now it is due, by the database's clock, such as 15m or 30d")
	f.BoolVar(&p.ids, "ids", false, "with --lines: print the id of each message")
	f.BoolVar(&p.asJSON, "json", false, "print JSON")
	c.MarkFlagsMutuallyExclusive("data", "file")
	c.MarkFlagsMutuallyExclusive("ids", "json")
	return c
}

// prepare checks what can be checked before anything is opened.
func (p *publication) prepare() error {
	more, err := headers(p.headers)
	switch {
	case err != nil:
		return err
	case p.batchCommit < 0:
		return usagef("--batch-commit is %d, it must be above zero", p.batchCommit)
	case !p.lines && (p.batchCommit > 0 || p.ids):
		return usagef("--batch-commit and --ids are for --lines")
	}
	p.options = []queue.PublishOption{
		queue.Headers(more), queue.ContentType(p.contentType), queue.CorrelationID(p.correlationID), queue.Delay(p.delay.Duration),
	}
	media, _, _ := mime.ParseMediaType(p.contentType)
	p.checkJSON = media == "application/json" || strings.HasSuffix(media, "+json")
	return nil
}

func (t *tool) publish(ctx context.Context, p *publication) (err error) {
	if err := p.prepare(); err != nil {
		return err
	}
	var in io.Reader = strings.NewReader(p.data)
	total := int64(len(p.data))
	if !p.given {
		var file *os.File
		if file, err = t.input(p.file); err != nil {
			return err
		}
		if file != nil {
			defer file.Close() // it was only read
			in = file
		} else {
			in = t.in
		}
		total = size(in)
		in = interruptible{ctx, in}
	}
	if p.lines {
		return t.publishLines(ctx, p, in, total)
	}
	return t.publishOne(ctx, p, in)
}

// input opens the file of a name. Nil is standard input.
func (t *tool) input(name string) (*os.File, error) {
	if name != "" && name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read the payload: %w", err)
		}
		return f, nil
	}
	if terminal(t.in) {
		t.note("reading from the terminal; ctrl-D ends the input")
	}
	return nil, nil
}

// size is how much there is to read, or -1.
func size(in io.Reader) int64 {
	if f, ok := in.(*os.File); ok {
		if about, err := f.Stat(); err == nil && about.Mode().IsRegular() {
			return about.Size()
		}
	}
	return -1
}

func (t *tool) publishOne(ctx context.Context, p *publication, in io.Reader) error {
	payload, err := io.ReadAll(io.LimitReader(in, queue.DefaultMaxBytes+1))
	if err != nil {
		return fmt.Errorf("read the payload: %w", err)
	}
	payload, err = p.payload(payload)
	if err != nil {
		return fmt.Errorf("the payload %w", err)
	}
	var id int64
	err = t.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		id, err = p.queue.Publish(ctx, tx, payload, p.options...)
		return err
	})
	if err != nil {
		return refused(err)
	}
	p.published, p.publishedIDs = 1, []int64{id}
	if !p.asJSON {
		t.line("%d", id)
		return nil
	}
	return p.print(t)
}

// print says in JSON what was published.
func (p *publication) print(t *tool) error {
	return t.json().print(struct {
		Queue     string  `json:"queue"`
		Published int64   `json:"published"`
		IDs       []int64 `json:"ids"`
	}{p.queue.Name(), p.published, append([]int64{}, p.publishedIDs...)})
}

// payload is a payload as it is published. Its error follows what it is about.
func (p *publication) payload(raw []byte) ([]byte, error) {
	if len(raw) > queue.DefaultMaxBytes {
		return nil, fmt.Errorf("is larger than %d bytes: %w", queue.DefaultMaxBytes, queue.ErrTooLarge)
	}
	if !p.checkJSON {
		return raw, nil
	}
	if len(trimSpace(raw)) == 0 {
		return nil, errors.New("is empty, which is not JSON (see --content-type)")
	}
	if err := json.Unmarshal(raw, new(json.RawMessage)); err != nil {
		where := ""
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			where = fmt.Sprintf(", from byte %d on", syntax.Offset)
		}
		return nil, fmt.Errorf("is not JSON%s (see --content-type)", where)
	}
	return trimSpace(raw), nil
}

// refused marks what is wrong with a message itself as wrong usage.
func refused(err error) error {
	for _, usage := range []error{queue.ErrInvalidHeader, queue.ErrInvalidDelay, queue.ErrInvalidName} {
		if errors.Is(err, usage) {
			return usageError{err}
		}
	}
	return err
}
