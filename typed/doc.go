// Package typed is the face of the library: queues of Go values.
//
// Define a queue once, in the package of the domain it belongs to:
//
//	var Placed = typed.NewQueue[OrderPlaced]("orders.placed")
//
// Publish in the transaction that holds your own writes; the commit is the send:
//
//	_, err := orders.Placed.Publish(ctx, tx, orders.OrderPlaced{ID: 1})
//
// Handle on the other side:
//
//	w, err := queue.NewWorker(pool, orders.Placed.Handle(svc.OnPlaced))
//	err = w.Run(ctx)
//
// A [Queue] encodes, decodes and delegates; everything else, and what the errors
// and options mean, is in package queue. A value of another type, and a handler
// of another type, do not compile.
package typed
