package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// wire is the way of one process to the server, which can be cut, blocked and slowed down.
type wire struct {
	name  string
	proxy *toxiproxy.Proxy
	busy  sync.Mutex // held while it is afflicted
}

func openWire(name, server string) (*wire, error) {
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(api, name, "127.0.0.1:0", server)
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("open a proxy for %s: %w", name, err)
	}
	return &wire{name: name, proxy: p}, nil
}

func (w *wire) close() { w.proxy.Stop() }

// dsn names a database by this way.
func (w *wire) dsn(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable&connect_timeout=3", w.proxy.Listen, database)
}

// The toxics, by toxiproxy's names, with what they are set to.
var (
	// hang lets nothing through, and says nothing either.
	hang = toxic{kind: "timeout", attributes: map[string]int64{"timeout": 0}}
	// drop ends connections with a reset.
	drop = toxic{kind: "reset_peer", attributes: map[string]int64{"timeout": 0}}
)

// slow delays each packet, by up to half as much more or less.
func slow(by time.Duration) toxic {
	return toxic{kind: "latency", attributes: map[string]int64{"latency": by.Milliseconds(), "jitter": by.Milliseconds() / 2}}
}

type toxic struct {
	kind       string
	attributes map[string]int64
}

// afflict puts a toxic on both directions. heal takes it away.
func (w *wire) afflict(t toxic) (heal func(context.Context) error, err error) {
	var names []string
	heal = func(ctx context.Context) error {
		for _, name := range names {
			if err := w.proxy.Toxics.RemoveToxic(ctx, name); err != nil {
				return fmt.Errorf("heal the way of %s: %w", w.name, err)
			}
		}
		return nil
	}
	for _, stream := range []string{"upstream", "downstream"} {
		text, err := json.Marshal(map[string]any{"type": t.kind, "stream": stream, "attributes": t.attributes})
		if err != nil {
			return heal, err
		}
		added, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(string(text)))
		if err != nil {
			return heal, fmt.Errorf("%s on the way of %s: %w", t.kind, w.name, err)
		}
		names = append(names, added.Name)
	}
	return heal, nil
}
