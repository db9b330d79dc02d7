package orders

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Errors of a request. They say why to the customer.
var (
	ErrInvalid    = errors.New("invalid order")
	ErrOutOfStock = errors.New("out of stock")
	ErrNotFound   = errors.New("no such order")
)

// State is how far an order is.
type State string

// The states, in their order.
const (
	StatePlaced    State = "placed"
	StateConfirmed State = "confirmed"
	StateReceipted State = "receipted" // and its receipt sent
)

// Request is what a customer wants.
type Request struct {
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
	Email    string `json:"email"`
}

func (r Request) validate() error {
	switch {
	case r.Item == "":
		return fmt.Errorf("%w: no item", ErrInvalid)
	case r.Quantity < 1:
		return fmt.Errorf("%w: quantity %d", ErrInvalid, r.Quantity)
	case !strings.Contains(r.Email, "@"):
		return fmt.Errorf("%w: no email address", ErrInvalid)
	}
	return nil
}

// Order is a row of the shop's table.
type Order struct {
	ID       int64  `json:"id"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
	Email    string `json:"email"`
	State    State  `json:"state"`
}

// Service is the domain with its database. It is safe for concurrent use.
type Service struct {
	db   *pgxpool.Pool
	send func(context.Context, Receipt) error
}

// New makes a service. send sends a receipt; it may be called more than once for the same order.
func New(db *pgxpool.Pool, send func(context.Context, Receipt) error) *Service {
	return &Service{db: db, send: send}
}

// Place takes an order. The order, its message and the stock it takes are one commit: whatever fails, none of the three
// is there.
func (s *Service) Place(ctx context.Context, r Request) (Order, error) {
	if err := r.validate(); err != nil {
		return Order{}, err
	}
	o := Order{Item: r.Item, Quantity: r.Quantity, Email: r.Email, State: StatePlaced}
	err := pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx,
			"INSERT INTO shop.orders (item, quantity, email, state) VALUES ($1, $2, $3, $4) RETURNING id",
			o.Item, o.Quantity, o.Email, o.State).Scan(&o.ID)
		if err != nil {
			return err
		}
		if _, err := Placed.Publish(ctx, tx, OrderPlaced{OrderID: o.ID}); err != nil {
			return err
		}
		// Last, because orders of the same item wait for each other from here to the commit.
		return takeStock(ctx, tx, o)
	})
	if err != nil {
		return Order{}, fmt.Errorf("place order: %w", err)
	}
	return o, nil
}

func takeStock(ctx context.Context, tx pgx.Tx, o Order) error {
	tag, err := tx.Exec(ctx, "UPDATE shop.stock SET pieces = pieces - $2 WHERE item = $1 AND pieces >= $2", o.Item, o.Quantity)
	if err == nil && tag.RowsAffected() == 0 {
		err = fmt.Errorf("%w: %d of %s", ErrOutOfStock, o.Quantity, o.Item)
	}
	return err
}

// Find returns an order.
func (s *Service) Find(ctx context.Context, id int64) (Order, error) {
	rows, err := s.db.Query(ctx, "SELECT id, item, quantity, email, state FROM shop.orders WHERE id = $1", id)
	if err != nil {
		return Order{}, fmt.Errorf("find order %d: %w", id, err)
	}
	o, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Order])
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Order{}, fmt.Errorf("find order %d: %w", id, err)
	}
	return o, nil
}

// OnPlaced confirms an order and has its receipt sent. Both are one commit, and the state tells a second delivery of the
// same message from the first, so there is one receipt whatever happens.
func (s *Service) OnPlaced(ctx context.Context, p OrderPlaced) error {
	return pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		var o Order
		err := tx.QueryRow(ctx,
			"UPDATE shop.orders SET state = $2 WHERE id = $1 AND state = $3 RETURNING item, quantity, email",
			p.OrderID, StateConfirmed, StatePlaced).Scan(&o.Item, &o.Quantity, &o.Email)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // a delivery before this one did it
		}
		if err != nil {
			return err
		}
		_, err = Receipts.Publish(ctx, tx, Receipt{
			OrderID: p.OrderID,
			Email:   o.Email,
			Text:    fmt.Sprintf("Thank you for your order of %d x %s.", o.Quantity, o.Item),
		})
		return err
	})
}

// OnReceipt sends a receipt. Mail takes part in no transaction: where the worker dies between the two lines, the next one
// sends it again.
func (s *Service) OnReceipt(ctx context.Context, r Receipt) error {
	if err := s.send(ctx, r); err != nil {
		return err // tried again later
	}
	_, err := s.db.Exec(ctx, "UPDATE shop.orders SET state = $2 WHERE id = $1", r.OrderID, StateReceipted)
	return err
}
