package postgres

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// maxIdentifier is PostgreSQL's NAMEDATALEN less the closing zero: a longer
// name is cut without an error, and two cut names can collide.
const maxIdentifier = 63

// Names says which tables an outbox lives in.
type Names struct {
	// Schema may be empty: then the connection's search_path finds the tables.
	Schema string
	// Table is the queue table; empty means "outbox".
	Table string
	// DeadLetters is the dead-letter table; empty means Table + "_dlq".
	DeadLetters string
}

// Table is a pair of tables whose names have been checked, with the statements
// that work on them. It is immutable and safe for concurrent use.
type Table struct {
	names Names
	// channel is where publishes are notified; one a table.
	channel string
	notify  Notify
	sql     statements
}

// Bind checks the names and builds the statements. The error lists every
// problem with the names.
func Bind(n Names) (*Table, error) {
	if n.Table == "" {
		n.Table = "outbox"
	}
	if n.DeadLetters == "" {
		n.DeadLetters = n.Table + "_dlq"
	}
	var problems []error
	check := func(what, name, longest string) {
		switch {
		case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
			problems = append(problems, fmt.Errorf("%s %q is not valid text", what, name))
		case len(longest) > maxIdentifier:
			problems = append(problems, fmt.Errorf("%s %q is too long: the name %q that derives from it has %d bytes, PostgreSQL keeps %d",
				what, name, longest, len(longest), maxIdentifier))
		}
	}
	check("schema", n.Schema, n.Schema)
	check("table", n.Table, n.Table+"_pending_idx")
	check("dead-letter table", n.DeadLetters, n.DeadLetters+"_queue_failed_idx")
	if n.Table == n.DeadLetters {
		problems = append(problems, fmt.Errorf("table and dead-letter table are both %q", n.Table))
	}
	if names := derived(n); slices.Contains(names, n.Table) || slices.Contains(names, n.DeadLetters) {
		problems = append(problems, fmt.Errorf("table %q and dead-letter table %q: one has the name of an index or the sequence of the other", n.Table, n.DeadLetters))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	t := &Table{names: n, channel: "outbox_" + n.Table}
	t.sql = t.statements()
	return t, nil
}

// derived are the names of what belongs to the tables. It shares its names with
// tables, and CREATE ... IF NOT EXISTS would leave out one of two.
func derived(n Names) (names []string) {
	for _, end := range []string{"_pending_idx", "_lease_idx", "_timer_id_uq", "_pkey", "_id_seq"} {
		names = append(names, n.Table+end)
	}
	return append(names, n.DeadLetters+"_queue_failed_idx")
}

// Notifying returns the table with another rule of when a publish notifies.
func (t *Table) Notifying(n Notify) *Table {
	other := *t
	other.notify = n
	other.sql = other.statements()
	return &other
}

// Names returns the names, with the defaults filled in.
func (t *Table) Names() Names { return t.names }

// Channel is the NOTIFY channel of the table.
func (t *Table) Channel() string { return t.channel }

// String names the table as SQL would.
func (t *Table) String() string { return t.outbox() }

// outbox is the queue table, quoted and qualified.
func (t *Table) outbox() string { return t.qualified(t.names.Table) }

// deadLetters is the dead-letter table, quoted and qualified.
func (t *Table) deadLetters() string { return t.qualified(t.names.DeadLetters) }

// identifier is the queue table as pgx's COPY wants it.
func (t *Table) identifier() pgx.Identifier {
	if t.names.Schema == "" {
		return pgx.Identifier{t.names.Table}
	}
	return pgx.Identifier{t.names.Schema, t.names.Table}
}

func (t *Table) qualified(name string) string {
	if t.names.Schema == "" {
		return quote(name)
	}
	return quote(t.names.Schema) + "." + quote(name)
}

// quote quotes an identifier.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// literal quotes a string for the few places where SQL takes no parameter.
func literal(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

// place is what a statement leaves to be filled in: a table, or how the workers of
// a queue are told, {tell:expression of the queue's name}.
var place = regexp.MustCompile(`\{(outbox|dlq|outbox_regclass|dlq_regclass|tell:[^}]*)\}`)

// statements are built once a table.
type statements struct {
	publishOne, publishMany, reserve             string
	claim, claimExpired, clock                   string
	ack, ackEach, reschedule                     string
	bury, extend, locked, giveBack               string
	leased, ackOne, hold, holdExpired, holdAgain string
	pause, resume, paused                        string
	look, ping, tell                             string
	letters                                      letterStatements
	timers                                       timerStatements
	stats                                        statStatements
}

func (t *Table) statements() statements {
	places := map[string]string{
		"{outbox}":          t.outbox(),
		"{dlq}":             t.deadLetters(),
		"{outbox_regclass}": literal(t.outbox()),
		"{dlq_regclass}":    literal(t.deadLetters()),
	}
	// In one pass: what is filled in is never looked at for places, for a table may be called like one.
	fill := func(sql string) string {
		sql = strings.ReplaceAll(sql, "{unpaused}", unpausedSQL) // which has places of its own
		return place.ReplaceAllStringFunc(sql, func(found string) string {
			if queue, ok := strings.CutPrefix(found, "{tell:"); ok {
				return t.telling(strings.TrimSuffix(queue, "}"))
			}
			return places[found]
		})
	}
	return statements{
		publishOne:   fill(publishOneSQL),
		publishMany:  fill(publishManySQL),
		reserve:      fill(reserveSQL),
		claim:        fill(claimSQL),
		claimExpired: fill(claimExpiredSQL),
		clock:        fill(clockSQL),
		ack:          fill(ackSQL),
		ackEach:      fill(ackEachSQL),
		reschedule:   fill(rescheduleSQL),
		bury:         fill(burySQL),
		extend:       fill(extendSQL),
		locked:       fill(lockedSQL),
		giveBack:     fill(giveBackSQL),
		look:         fill(lookSQL),
		pause:        fill(pauseSQL),
		resume:       fill(resumeSQL),
		paused:       fill(pausedSQL),
		ping:         fill(pingSQL),
		leased:       fill(leasedSQL),
		tell:         fill(tellSQL),
		ackOne:       fill(ackOneSQL),
		hold:         fill(holdSQL),
		holdExpired:  fill(holdExpiredSQL),
		holdAgain:    fill(holdAgainSQL),
		letters:      fillLetters(fill),
		timers:       fillTimers(fill),
		stats:        fillStats(fill),
	}
}
