package main

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"
)

// watermillQueue is Watermill's SQL Pub/Sub with the schema that makes a table a queue. A subscriber holds a batch of rows
// in an open transaction, hands them out one by one, and deletes them: so it is measured in drain and in drain-tx.
type watermillQueue struct{}

const (
	watermillTopic = "orders"
	// watermillPoll is how often it looks for messages: it knows no notification. Its default is a second.
	watermillPoll = 5 * time.Millisecond
	// watermillChunk is how many messages one insert takes: three parameters each, of 65,535.
	watermillChunk = 10_000
)

func (watermillQueue) schema(batch int) wsql.PostgreSQLQueueSchema {
	return wsql.PostgreSQLQueueSchema{SubscribeBatchSize: batch}
}

func (q watermillQueue) setup(ctx context.Context, db *database) error {
	queries, err := q.schema(0).SchemaInitializingQueries(wsql.SchemaInitializingQueriesParams{Topic: watermillTopic})
	if err != nil {
		return err
	}
	for _, query := range queries {
		if _, err := db.pool.Exec(ctx, query.Query, query.Args...); err != nil {
			return err
		}
	}
	return nil
}

func (q watermillQueue) publish(ctx context.Context, tx pgx.Tx, number int, due time.Time) error {
	return q.fill(ctx, tx, span{number, number + 1}, due)
}

func (q watermillQueue) fill(ctx context.Context, tx pgx.Tx, numbers span, due time.Time) error {
	if !due.IsZero() {
		return errUnsupported // its delayed messages need another schema
	}
	publisher, err := wsql.NewPublisher(wsql.TxFromPgx(tx), wsql.PublisherConfig{SchemaAdapter: q.schema(0)}, nil)
	if err != nil {
		return err
	}
	for _, piece := range numbers.cut(watermillChunk) {
		messages := make([]*message.Message, piece.len())
		for i := range messages {
			messages[i] = message.NewMessage(watermill.NewUUID(), payload(piece.first+i))
			messages[i].SetContext(ctx)
		}
		if err := publisher.Publish(watermillTopic, messages...); err != nil {
			return err
		}
	}
	return publisher.Close()
}

func (watermillQueue) expire(context.Context, *database, int) error { return errUnsupported }

func (q watermillQueue) work(ctx context.Context, w worker) error {
	if w.queues > 1 {
		return errUnsupported
	}
	acks := new(countedAcks)
	subscriber, err := wsql.NewSubscriber(wsql.BeginnerFromPgx(w.pool), wsql.SubscriberConfig{
		SchemaAdapter:  q.schema(w.batch),
		OffsetsAdapter: acks,
		PollInterval:   watermillPoll,
	}, watermill.NewSlogLogger(w.log))
	if err != nil {
		return err
	}
	// Its context must outlive the last batch: what ends with ctx is the subscriber, which settles first.
	messages, err := subscriber.Subscribe(context.WithoutCancel(ctx), watermillTopic)
	if err != nil {
		return err
	}
	closed := make(chan error, 1)
	go func() {
		<-ctx.Done()
		acks.catchUp()
		closed <- subscriber.Close()
	}()
	for m := range messages {
		var o order
		if err := json.Unmarshal(m.Payload, &o); err != nil {
			return err
		}
		acks.handled.Add(1)
		w.handle(o.Number)
		m.Ack()
	}
	return <-closed
}

// countedAcks knows when everything that was handled is being settled. A subscriber that is closed before may forget that
// a message was acknowledged.
type countedAcks struct {
	wsql.PostgreSQLQueueOffsetsAdapter
	handled, acked atomic.Int64
}

func (a *countedAcks) AckMessageQuery(p wsql.AckMessageQueryParams) (wsql.Query, error) {
	a.acked.Add(int64(len(p.Rows)))
	return wsql.PostgreSQLQueueOffsetsAdapter{DeleteOnAck: true}.AckMessageQuery(p)
}

// catchUp waits until all that was handled is acknowledged, but not for ever.
func (a *countedAcks) catchUp() {
	for range 1000 {
		if a.acked.Load() >= a.handled.Load() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (watermillQueue) left(ctx context.Context, db *database) (n int, err error) {
	err = db.pool.QueryRow(ctx, `SELECT count(*) FROM watermill_orders WHERE NOT acked`).Scan(&n)
	return n, err
}
