package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/examples/shop/orders"
	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func TestShop_ConfirmsAnOrderAndSendsItsReceipt(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := newShop(t)
	all := s.start("all")

	order := s.post(`{"item": "tea", "quantity": 2, "email": "me@example.com"}`, http.StatusCreated)
	is.Equal(order, orders.Order{ID: 1, Item: "tea", Quantity: 2, Email: "me@example.com", State: "placed"})

	receipt := next(t, s.receipts)
	is.Equal(receipt, orders.Receipt{OrderID: 1, Email: "me@example.com", Text: "Thank you for your order of 2 x tea."})
	is.NoErr(all.stop())
	is.Equal(s.messages(), 0)
	is.Equal(s.state(1), "receipted")
}

func TestShop_LeavesNeitherRowNorMessageOfARefusedOrder(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := newShop(t)
	s.start("web")

	for _, tt := range []struct {
		name, body string
		status     int
	}{
		{"no JSON", `tea, please`, http.StatusBadRequest},
		{"a field that is none", `{"item": "tea", "quantity": 1, "email": "me@example.com", "free": true}`, http.StatusBadRequest},
		{"no quantity", `{"item": "tea", "quantity": 0, "email": "me@example.com"}`, http.StatusUnprocessableEntity},
		{"no address", `{"item": "tea", "quantity": 1, "email": ""}`, http.StatusUnprocessableEntity},
		// Found only after both were written.
		{"more than there is", `{"item": "teapot", "quantity": 4, "email": "me@example.com"}`, http.StatusConflict},
		{"what is not sold", `{"item": "coffee", "quantity": 1, "email": "me@example.com"}`, http.StatusConflict},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			s.post(tt.body, tt.status)
			is.Equal(s.orders(), 0)
			is.Equal(s.messages(), 0)
		})
	}

	s.post(`{"item": "teapot", "quantity": 3, "email": "me@example.com"}`, http.StatusCreated)
	is.Equal(s.orders(), 1)
	is.Equal(s.messages(), 1)
}

func TestShop_WorksInProcessesOfTheirOwn(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := newShop(t)
	web := s.start("web")
	id := s.post(`{"item": "tea", "quantity": 1, "email": "me@example.com"}`, http.StatusCreated).ID
	is.Equal(s.get(id, http.StatusOK).State, orders.StatePlaced) // nobody works yet
	is.Equal(s.get(id+1, http.StatusNotFound).ID, int64(0))

	worker := s.start("worker")
	next(t, s.receipts)
	is.NoErr(worker.stop()) // it has drained, so the receipt is acknowledged
	is.Equal(s.get(id, http.StatusOK).State, orders.StateReceipted)
	is.NoErr(web.stop())
}

func TestShop_FinishesWhatItHandlesBeforeItEnds(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := newShop(t)
	s.receipts = make(chan orders.Receipt) // send waits for us
	all := s.start("all")
	s.post(`{"item": "tea", "quantity": 1, "email": "me@example.com"}`, http.StatusCreated)
	next(t, s.sending)

	all.cancel()
	s.refusesConnections()
	select {
	case err := <-all.ended:
		t.Fatalf("ended with a receipt in hand: %v", err)
	default:
	}
	next(t, s.receipts)
	is.NoErr(next(t, all.ended))
	is.Equal(s.messages(), 0)
	is.Equal(s.state(1), "receipted")
}

func TestService_SendsOneReceiptHoweverOftenAnOrderIsDelivered(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := newShop(t)
	order, err := s.service.Place(t.Context(), orders.Request{Item: "tea", Quantity: 1, Email: "me@example.com"})
	is.NoErr(err)
	for range 2 {
		is.NoErr(s.service.OnPlaced(t.Context(), orders.OrderPlaced{OrderID: order.ID}))
	}
	is.Equal(s.count("SELECT count(*) FROM shop.outbox WHERE queue = 'receipts'"), 1)
}

// shop is a shop with a database of the test's own. Its receipts come out of a channel, after its sending was said.
type shop struct {
	t        *testing.T
	pool     *pgxpool.Pool
	service  *orders.Service
	sending  chan struct{}
	receipts chan orders.Receipt
	addr     string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{
		t:        t,
		pool:     pgtest.New(t).Pool,
		sending:  make(chan struct{}, 10),
		receipts: make(chan orders.Receipt, 10),
	}
	s.service = orders.New(s.pool, func(ctx context.Context, r orders.Receipt) error {
		s.sending <- struct{}{}
		select {
		case s.receipts <- r:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if err := orders.Migrate(t.Context(), s.pool); err != nil {
		t.Fatal(err)
	}
	return s
}

// running is a process of the shop.
type running struct {
	cancel context.CancelFunc
	ended  chan error
	stop   func() error // cancels, and waits for the end
}

// start starts a process of the role, which the test's end stops.
func (s *shop) start(role string) running {
	s.t.Helper()
	p := process{pool: s.pool, shop: s.service, worker: role != "web"}
	if role != "worker" {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		p.listener, s.addr = listener, listener.Addr().String()
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := running{cancel: cancel, ended: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ended <- p.run(ctx)
	}()
	r.stop = func() error {
		cancel()
		return <-r.ended
	}
	s.t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

func (s *shop) post(body string, status int) orders.Order {
	s.t.Helper()
	return s.call(http.MethodPost, "/orders", body, status)
}

func (s *shop) get(id int64, status int) orders.Order {
	s.t.Helper()
	return s.call(http.MethodGet, fmt.Sprintf("/orders/%d", id), "", status)
}

func (s *shop) call(method, path, body string, status int) (o orders.Order) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != status {
		s.t.Fatalf("%s %s answered %s", method, path, res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(&o); err != nil {
		s.t.Fatal(err)
	}
	return o
}

// refusesConnections waits until HTTP has ended.
func (s *shop) refusesConnections() {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			return
		}
		if err := conn.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	s.t.Fatal("HTTP goes on")
}

func (s *shop) orders() int   { return s.count("SELECT count(*) FROM shop.orders") }
func (s *shop) messages() int { return s.count("SELECT count(*) FROM shop.outbox") }

func (s *shop) count(sql string) (n int) {
	s.t.Helper()
	if err := s.pool.QueryRow(s.t.Context(), sql).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *shop) state(id int64) (state string) {
	s.t.Helper()
	if err := s.pool.QueryRow(s.t.Context(), "SELECT state FROM shop.orders WHERE id = $1", id).Scan(&state); err != nil {
		s.t.Fatal(err)
	}
	return state
}

// next waits for a value.
func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}
