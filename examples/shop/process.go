package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/examples/shop/orders"
	"github.com/letterbox-go/letterbox/queue"
)

const (
	// webGrace is how long requests that are being answered may take when the process is told to stop.
	webGrace = 10 * time.Second
	// workerGrace is the same for messages that are being handled. What is not done then is done elsewhere.
	workerGrace = 10 * time.Second
)

// process is one process of the shop.
type process struct {
	pool     *pgxpool.Pool
	shop     *orders.Service
	listener net.Listener // nil: no HTTP
	worker   bool
}

// run serves until ctx ends or one part fails, then ends HTTP first, for it may still publish, and the worker after it.
func (p process) run(ctx context.Context) error {
	ctx, fail := context.WithCancel(ctx)
	defer fail()

	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	worked := make(chan error, 1)
	go func() {
		defer fail()
		worked <- p.work(working)
	}()

	err := p.serve(ctx)
	stopWorking()
	return errors.Join(err, <-worked)
}

// work handles messages until ctx ends, and drains.
func (p process) work(ctx context.Context) error {
	if !p.worker {
		<-ctx.Done()
		return nil
	}
	w, err := queue.NewWorker(p.pool, orders.Subscriptions(p.shop), queue.Grace(workerGrace))
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

// serve answers requests until ctx ends, and those that have come by then.
func (p process) serve(ctx context.Context) error {
	if p.listener == nil {
		<-ctx.Done()
		return nil
	}
	server := &http.Server{Handler: routes(p.shop), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(p.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), webGrace)
	defer cancel()
	err := server.Shutdown(brief)
	if err != nil {
		err = errors.Join(fmt.Errorf("shut down HTTP: %w", err), server.Close())
	}
	<-served // http.ErrServerClosed
	return err
}
