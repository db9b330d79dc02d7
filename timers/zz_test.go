package timers_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

func cpu(pid int) time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(string(b[strings.LastIndex(string(b), ")")+1:]))
	u, _ := strconv.Atoi(f[11])
	s, _ := strconv.Atoi(f[12])
	return time.Duration(u+s) * 10 * time.Millisecond
}

func TestZZ(t *testing.T) {
	db := newDB(t)
	var pid int
	for round := range 2 {
		for name, f := range map[string]func(tx pgx.Tx, i int) error{
			"publish": func(tx pgx.Tx, i int) error {
				_, err := queue.Publish(t.Context(), tx, text("x"))
				return err
			},
			"schedule": func(tx pgx.Tx, i int) error {
				_, err := timers.ScheduleAfter(t.Context(), tx, fmt.Sprint("s-", i), time.Hour, text("x"))
				return err
			},
			"reschedule": func(tx pgx.Tx, i int) error {
				_, err := timers.RescheduleAfter(t.Context(), tx, fmt.Sprint("r-", i), time.Hour, text("x"))
				return err
			},
			"reschedule same": func(tx pgx.Tx, i int) error {
				_, err := timers.RescheduleAfter(t.Context(), tx, fmt.Sprint("x-", i%100), time.Hour, text("x"))
				return err
			},
			"cancel": func(tx pgx.Tx, i int) error {
				_, err := timers.Of(reminders).Cancel(t.Context(), tx, fmt.Sprint("r-", i))
				return err
			},
		} {
			tx := begin(t, db.Pool)
			tx.QueryRow(t.Context(), "select pg_backend_pid()").Scan(&pid)
			c, at := cpu(pid), time.Now()
			for i := range 3000 {
				if err := f(tx, i); err != nil {
					t.Fatal(err)
				}
			}
			t.Log(round, name, "server cpu", (cpu(pid)-c)/3000, "wall", time.Since(at)/3000)
			tx.Rollback(t.Context())
		}
	}
}
