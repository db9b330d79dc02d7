package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
)

// mayGo says whether what destroys may be done: with --yes, or when a person at a terminal says so. Elsewhere nothing is
// done, which is said.
func (t *tool) mayGo(ctx context.Context, yes bool, question string) (bool, error) {
	if yes {
		return true, nil
	}
	if !terminal(t.in) || !terminal(t.errs) {
		t.note("nothing was changed: --yes does it")
		return false, nil
	}
	fmt.Fprintf(t.errs, "%s [y/N] ", question)
	text, err := bufio.NewReader(interruptible{ctx, t.in}).ReadString('\n')
	if errors.Is(err, errInterrupted) {
		t.note("")
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "y", "yes":
		return true, nil
	}
	t.note("nothing was changed")
	return false, errSaid
}
