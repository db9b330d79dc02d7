package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// A system is one way to have a queue in PostgreSQL. It is a value without state: what it needs comes with each call.
// A method that makes no sense for it returns errUnsupported.
type system interface {
	// setup creates the tables in the empty schema of db.
	setup(ctx context.Context, db *database) error
	// publish writes one message in the transaction tx, due at the given time; the zero time is at once.
	publish(ctx context.Context, tx pgx.Tx, number int, due time.Time) error
	// fill writes many messages in the transaction tx, in the fastest way that the system offers.
	fill(ctx context.Context, tx pgx.Tx, numbers span, due time.Time) error
	// expire makes n of the rows that are there look claimed by a worker that died an hour ago.
	expire(ctx context.Context, db *database, n int) error
	// work handles messages until ctx ends. Everything that was handled is settled when it returns.
	work(ctx context.Context, w worker) error
	// left counts the messages that are due and not settled.
	left(ctx context.Context, db *database) (int, error)
}

// systems is every system by its name on the command line.
var systems = map[string]system{
	"letterbox": letterbox{},
	"floor":     leaseFloor{},
	"floor-tx":  heldFloor{},
	"river":     riverQueue{},
	"watermill": watermillQueue{},
}

// errUnsupported says that a system has nothing to do what a scenario asks for.
var errUnsupported = errors.New("the system does not do this")

// pick finds systems by a list of names with commas between.
func pick(list string) ([]string, error) {
	names := strings.Split(list, ",")
	for _, name := range names {
		if systems[name] == nil {
			return nil, fmt.Errorf("there is no system %q; there are %s", name, strings.Join(sorted(systems), ", "))
		}
	}
	return names, nil
}
