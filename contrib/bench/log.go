package main

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
)

// watchedLog passes on what a worker has to complain about, and counts the lost leases among it: they explain messages
// that are handled twice.
type watchedLog struct {
	slog.Handler
	lost *atomic.Int64
}

func newWatchedLog(to slog.Handler) watchedLog {
	return watchedLog{Handler: to, lost: new(atomic.Int64)}
}

func (l watchedLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (l watchedLog) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "lease was lost") || strings.Contains(r.Message, "lease lost") {
		l.lost.Add(1)
	}
	return l.Handler.Handle(ctx, r)
}

func (l watchedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return watchedLog{Handler: l.Handler.WithAttrs(attrs), lost: l.lost}
}

func (l watchedLog) WithGroup(name string) slog.Handler {
	return watchedLog{Handler: l.Handler.WithGroup(name), lost: l.lost}
}
