package typed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
	"github.com/letterbox-go/letterbox/typed"
)

// account is a value whose own methods quote it.
type account struct {
	Name string `json:"name"`
	Bad  bool   `json:"bad"`
}

func (a *account) UnmarshalJSON(data []byte) error {
	if strings.Contains(string(data), `"bad"`) {
		return fmt.Errorf("cannot read %s", data)
	}
	a.Name = strings.Trim(string(data), `"`)
	return nil
}

func (a account) MarshalJSON() ([]byte, error) {
	if a.Bad {
		return nil, fmt.Errorf("cannot write %q", a.Name)
	}
	return fmt.Appendf(nil, "%q", a.Name), nil
}

var (
	accounts = typed.NewQueue[account]("accounts")
	secret   = account{Name: marker}
	inHeader = queue.Headers(map[string]string{"h": marker})
)

func TestSecrets_AreInNoErrorOfWhatIsRefused(t *testing.T) {
	t.Parallel()
	headers := func(name, value string) queue.MessageOption { return queue.Headers(map[string]string{name: value}) }
	big := strings.Repeat(marker, 20_000)
	for _, tt := range []struct {
		name  string
		queue typed.Queue[account]
		value account
		opts  []queue.MessageOption
		want  error
	}{
		{"a value that does not encode", accounts, account{marker, true}, nil, nil},
		{"a payload over the limit", accounts.MaxBytes(3), secret, nil, queue.ErrTooLarge},
		{"headers over the limit", accounts, secret, []queue.MessageOption{headers("h", big)}, queue.ErrTooLarge},
		{"a header with a NUL", accounts, secret, []queue.MessageOption{headers("h", marker+"\x00")}, queue.ErrInvalidHeader},
		{"a header that is not UTF-8", accounts, secret, []queue.MessageOption{headers("h", marker+"\xff")}, queue.ErrInvalidHeader},
		{"a header of the envelope", accounts, secret, []queue.MessageOption{headers("content-type", marker)}, queue.ErrInvalidHeader},
		{"a header without a name", accounts, secret, []queue.MessageOption{headers("", marker)}, queue.ErrInvalidHeader},
		{"a correlation id with a NUL", accounts, secret, []queue.MessageOption{queue.CorrelationID(marker + "\x00")}, queue.ErrInvalidHeader},
		{"a correlation id over the limit", accounts, secret, []queue.MessageOption{queue.CorrelationID(big)}, queue.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			for way, send := range ways(t.Context(), tt.queue, tt.value, tt.opts...) {
				t.Log(way)
				err := send((*pgxpool.Tx)(nil))
				discreet(t, err)
				is.True(tt.want == nil || errors.Is(err, tt.want))
				is.True(!errors.Is(err, queue.ErrNoTransaction)) // refused before anything is sent
			}
		})
	}
}

// ways are all the ways to send a value.
func ways(ctx context.Context, q typed.Queue[account], v account, opts ...queue.MessageOption) map[string]func(queue.Tx) error {
	var (
		publish []queue.PublishOption
		move    []timers.Option
		soon    = time.Now().Add(time.Hour)
	)
	for _, o := range opts {
		publish, move = append(publish, o), append(move, o)
	}
	return map[string]func(tx queue.Tx) error{
		"publish": func(tx queue.Tx) error { _, err := q.Publish(ctx, tx, v, publish...); return err },
		"batch":   func(tx queue.Tx) error { _, err := q.PublishBatch(ctx, tx, []account{v, v}, publish...); return err },
		"COPY": func(tx queue.Tx) error {
			_, err := q.PublishBatch(ctx, tx, slices.Repeat([]account{v}, 2000), publish...)
			return err
		},
		"schedule":       func(tx queue.Tx) error { _, err := q.Schedule(ctx, tx, "t", soon, v, opts...); return err },
		"schedule after": func(tx queue.Tx) error { _, err := q.ScheduleAfter(ctx, tx, "t", time.Hour, v, opts...); return err },
		"schedule batch": func(tx queue.Tx) error {
			_, err := q.ScheduleBatch(ctx, tx, []typed.Timer[account]{{ID: "t", At: soon, Value: v}}, opts...)
			return err
		},
		"reschedule":       func(tx queue.Tx) error { _, err := q.Reschedule(ctx, tx, "t", soon, v, move...); return err },
		"reschedule after": func(tx queue.Tx) error { _, err := q.RescheduleAfter(ctx, tx, "t", time.Hour, v, move...); return err },
	}
}

// PostgreSQL's own errors come with details that quote rows; what is shown of them
// does not.
func TestSecrets_AreInNoErrorOfTheDatabase(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, sql, state string }{
		{"unique violation of the payload", "CREATE UNIQUE INDEX ON outbox (payload); INSERT INTO outbox (queue, payload) VALUES ('q', '\"" + marker + "\"')", "23505"},
		{"unique violation of a header", "CREATE UNIQUE INDEX ON outbox ((headers ->> 'h')); INSERT INTO outbox (queue, payload, headers) VALUES ('q', '', '{\"h\": \"" + marker + "\"}')", "23505"},
		{"check violation", "ALTER TABLE outbox ADD CHECK (length(payload) < 3)", "23514"},
		{"failing expression", "ALTER TABLE outbox ADD CHECK ((headers -> 'h')::numeric > 0)", "22023"},
		{"not null violation", "ALTER TABLE outbox ADD more int NOT NULL", "23502"},
		{"missing table", "DROP TABLE outbox", "42P01"},
		{"missing column", "ALTER TABLE outbox DROP headers", "42703"},
		{"other column", "ALTER TABLE outbox ALTER payload TYPE int USING 1", ""},
		{"missing permission", "", "42501"},
		{"transaction that takes no writes", "", "25006"},
		{"failed transaction", "", "25P02"},
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
			t.Run(fmt.Sprint(tt.name, ", ", mode), func(t *testing.T) {
				t.Parallel()
				is := is.New(t)
				db := newDB(t)
				_, err := db.Pool.Exec(t.Context(), tt.sql, pgx.QueryExecModeSimpleProtocol)
				is.NoErr(err)
				pool := db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
				before := map[string]string{"42501": "SET LOCAL ROLE pg_monitor", "25006": "SET LOCAL TRANSACTION READ ONLY", "25P02": "SELECT 1/0"}[tt.state]
				for way, send := range ways(t.Context(), accounts, secret, inHeader) {
					t.Log(way)
					tx, err := pool.Begin(t.Context())
					is.NoErr(err)
					_, _ = tx.Exec(t.Context(), before) // one of them is meant to fail
					err = send(tx)
					is.NoErr(tx.Rollback(t.Context()))
					discreet(t, err)
					var refused *pgconn.PgError
					is.True(tt.state == "" || errors.As(err, &refused))
					is.True(tt.state == "" || refused.Code == tt.state)
				}
			})
		}
	}
}
