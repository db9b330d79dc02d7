package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/timers"
	"github.com/letterbox-go/letterbox/typed"
)

// Unread is the value of a reminder: a message that may still be unread.
type Unread struct {
	Message int    `json:"message"`
	To      string `json:"to"`
}

// Digest is the value of the other timer: who is to get one.
type Digest struct {
	To string `json:"to"`
}

// The queues of both. That their messages are timers is a matter of how they are sent.
var (
	Reminders = typed.NewQueue[Unread]("chat.reminders")
	Digests   = typed.NewQueue[Digest]("chat.digests")
)

// Real ones would wait for hours. A digest waits for a pause in the conversation, but not for ever.
const (
	remindAfter   = 2 * time.Second
	digestAfter   = time.Second
	digestAtMost  = 10 * time.Second
	schemaOfAChat = `CREATE TABLE messages (id int PRIMARY KEY, recipient text NOT NULL, body text NOT NULL, read boolean NOT NULL DEFAULT false)`
)

// chat is a service that keeps messages and knows when to mail people about them.
type chat struct{ pool *pgxpool.Pool }

// send stores a message and, in the same transaction, the reminder that it is unread and the digest of its recipient. The
// reminder is one for each message; the digest one for each recipient, which every message pushes out.
func (c chat) send(ctx context.Context, id int, to, body string) (reminder, digest timers.Result, err error) {
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO messages (id, recipient, body) VALUES ($1, $2, $3)", id, to, body); err != nil {
			return err
		}
		if reminder, err = Reminders.ScheduleAfter(ctx, tx, reminderOf(id), remindAfter, Unread{Message: id, To: to}); err != nil {
			return err
		}
		digest, err = Digests.RescheduleAfter(ctx, tx, to, digestAfter, Digest{To: to}, timers.MaxWait(digestAtMost))
		return err
	})
	return reminder, digest, err
}

// read marks a message as read, and cancels its reminder in the same transaction. Where that is too late, because the
// reminder is on its way, the result says so.
func (c chat) read(ctx context.Context, id int) (reminder timers.Result, err error) {
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE messages SET read = true WHERE id = $1", id); err != nil {
			return err
		}
		reminder, err = Reminders.Cancel(ctx, tx, reminderOf(id))
		return err
	})
	return reminder, err
}

func reminderOf(message int) string { return fmt.Sprint("message-", message) }

// remind handles a reminder. It looks at the message all the same: it may have been read while the reminder was on its way.
func (c chat) remind(ctx context.Context, u Unread) (mail string, err error) {
	var read bool
	if err := c.pool.QueryRow(ctx, "SELECT read FROM messages WHERE id = $1", u.Message).Scan(&read); err != nil || read {
		return "", err
	}
	return fmt.Sprintf("%s, message %d is waiting for you", u.To, u.Message), nil
}

// digest handles the digest of one recipient: it sees every message whose transaction pushed it out.
func (c chat) digest(ctx context.Context, d Digest) (mail string, err error) {
	var messages int
	const sql = "SELECT count(*) FROM messages WHERE recipient = $1 AND NOT read"
	if err := c.pool.QueryRow(ctx, sql, d.To).Scan(&messages); err != nil || messages == 0 {
		return "", err
	}
	return fmt.Sprintf("%s, you have %d unread messages", d.To, messages), nil
}
