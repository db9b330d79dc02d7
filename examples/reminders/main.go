// Reminders is about timers: a chat mails its users about messages that stay unread, and sends digests. Both are timers, and
// part of the transactions that they are about:
//
//   - sending a message schedules its reminder, and reading the message cancels it;
//   - every message pushes the digest of its recipient out, so one comes when the conversation pauses.
//
// It needs no setup and ends by itself:
//
//	go run ./examples/reminders
//
// The chat is in chat.go. What finds or starts a PostgreSQL is in postgres.go, and is no part of the story.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

func story(ctx context.Context, pool *pgxpool.Pool) error {
	if err := (queue.Outbox{}).Create(ctx, pool); err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, schemaOfAChat); err != nil {
		return err
	}
	c := chat{pool}

	fmt.Println("1. messages to ann, to ben and to ben")
	for id, to := range []string{"ann", "ben", "ben"} {
		reminder, digest, err := c.send(ctx, id+1, to, "hello")
		if err != nil {
			return err
		}
		fmt.Printf("   message %d: reminder %s, digest of %s %s\n", id+1, reminder.Outcome, to, digest.Outcome)
	}
	if err := show(ctx, pool); err != nil {
		return err
	}

	fmt.Println("2. ann reads message 1")
	reminder, err := c.read(ctx, 1)
	if err != nil {
		return err
	}
	fmt.Printf("   reminder of message 1 %s\n", reminder.Outcome)

	fmt.Println("3. a message to ben, who is being written to: his digest waits on")
	_, digest, err := c.send(ctx, 4, "ben", "are you there?")
	if err != nil {
		return err
	}
	fmt.Printf("   digest of ben %s to a later time: %v\n", digest.Outcome, digest.DueAt.After(digest.Existing.DueAt))

	fmt.Println("4. a worker mails what is due, and stops when nothing is left")
	if err := c.work(ctx, pool); err != nil {
		return err
	}
	return show(ctx, pool)
}

// work handles timers until none is left. A service would run its worker until a signal comes.
func (c chat) work(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	mails := mailbox{left: 5, done: stop} // three reminders, for one was cancelled, and two digests
	worker, err := queue.NewWorker(pool,
		Reminders.Handle(func(ctx context.Context, u Unread) error {
			mail, err := c.remind(ctx, u)
			return mails.put(mail, err)
		}),
		Digests.Handle(func(ctx context.Context, d Digest) error {
			mail, err := c.digest(ctx, d)
			return mails.put(mail, err)
		}),
	)
	if err != nil {
		return err
	}
	err = worker.Run(ctx)
	mails.show()
	return err
}

// show says which timers wait, soonest first.
func show(ctx context.Context, pool *pgxpool.Pool) error {
	list, err := timers.In(queue.Outbox{}).List(ctx, pool, timers.Filter{}, timers.Page{})
	if err != nil {
		return err
	}
	fmt.Printf("   %d timers wait\n", len(list))
	for _, t := range list {
		fmt.Printf("      %s of %s\n", t.TimerID, t.Queue)
	}
	return nil
}

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn) // a worker logs its start and stop, too; here they would only be in the way
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "reminders:", err)
		os.Exit(1)
	}
	fmt.Println("done")
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pool, closeAll, err := openDatabase(ctx)
	if err != nil {
		return err
	}
	return errors.Join(story(ctx, pool), closeAll())
}
