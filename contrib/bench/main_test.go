package main

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// TestMain lets the test binary be the worker process that the fleet scenario starts.
func TestMain(m *testing.M) {
	if order := os.Getenv(processVariable); order != "" {
		if err := beWorker(context.Background(), order, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
