package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/letterbox-go/letterbox/examples/shop/orders"
)

// maxBody is the largest request, in bytes.
const maxBody = 64 << 10

// routes is the shop over HTTP.
func routes(shop *orders.Service) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		var req orders.Request
		in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		in.DisallowUnknownFields()
		if err := in.Decode(&req); err != nil {
			answer(w, http.StatusBadRequest, problem{fmt.Sprintf("the body is no order: %v", err)})
			return
		}
		order, err := shop.Place(r.Context(), req)
		if err != nil {
			refuse(w, err)
			return
		}
		w.Header().Set("Location", fmt.Sprintf("/orders/%d", order.ID))
		answer(w, http.StatusCreated, order)
	})
	mux.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			refuse(w, orders.ErrNotFound)
			return
		}
		order, err := shop.Find(r.Context(), id)
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, http.StatusOK, order)
	})
	return mux
}

type problem struct {
	Error string `json:"error"`
}

// refuse says what is wrong, unless it is nobody's business but ours.
func refuse(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, orders.ErrInvalid):
		answer(w, http.StatusUnprocessableEntity, problem{err.Error()})
	case errors.Is(err, orders.ErrOutOfStock):
		answer(w, http.StatusConflict, problem{err.Error()})
	case errors.Is(err, orders.ErrNotFound):
		answer(w, http.StatusNotFound, problem{err.Error()})
	default:
		slog.Error("request failed", slog.Any("error", err))
		answer(w, http.StatusInternalServerError, problem{"internal error"})
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		slog.Debug("cannot answer", slog.Any("error", err)) // the client has gone
	}
}
