package queue_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

func ExampleOutbox_Migrate() {
	ctx := context.Background()
	pool, done := pgtest.Open(ctx, "")
	defer done()
	if pool == nil {
		return
	}
	for range 2 {
		made, err := queue.Outbox{}.Migrate(ctx, pool)
		fmt.Println(len(made), err)
		for _, d := range made {
			fmt.Println(d.Part, d.Name)
		}
	}
	// Output:
	// 2 <nil>
	// table outbox
	// table outbox_dlq
	// 0 <nil>
}

func ExampleOutbox_Validate() {
	ctx := context.Background()
	sql, err := queue.Outbox{}.SQL()
	if err != nil {
		fmt.Println(err)
		return
	}
	pool, done := pgtest.Open(ctx, sql+"ALTER TABLE outbox ALTER created_at DROP DEFAULT; DROP INDEX outbox_lease_idx;")
	defer done()
	if pool == nil {
		return
	}
	err = queue.Outbox{}.Validate(ctx, pool)
	var found *queue.SchemaError
	if errors.As(err, &found) {
		for _, d := range found.Differences {
			fmt.Printf("%s %s: needs %s\n", d.Part, d.Name, d.Need)
			fmt.Println(d.Mend)
		}
	}
	// Output:
	// column created_at: needs DEFAULT now()
	// ALTER TABLE "public"."outbox" ALTER COLUMN "created_at" SET DEFAULT now()
	// index outbox_lease_idx: needs INDEX (queue, acquired_at) WHERE acquired_token IS NOT NULL
	// CREATE INDEX "outbox_lease_idx" ON "public"."outbox" (queue, acquired_at) WHERE acquired_token IS NOT NULL
}

func ExampleMigration_Files() {
	all, err := queue.Outbox{}.Migrations()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range all {
		files, err := m.Files(queue.GolangMigrate, 20260102150405)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, f := range files {
			fmt.Println(f.Name) // write f.Content there
		}
	}
	// Output:
	// 20260102150405_letterbox_outbox.up.sql
	// 20260102150405_letterbox_outbox.down.sql
}
