package main

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"
)

// The test binary is the example too: started with this variable it runs main, as a user does.
const asExample = "LETTERBOX_RUN_DEADLETTERS"

func TestMain(m *testing.M) {
	if os.Getenv(asExample) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const told = `1. published three orders: one is in order, one has no currency, one is no JSON
2. a worker handles them
   order 1: billed 12.50 EUR
   order 2: refused
3. looking at what was left
   1 of orders.placed, because of decode_error
      letter N cannot be read: codec: decode main.OrderPlaced from "application/json": invalid JSON, at offset 2
   1 of orders.placed, because of retry_terminal
      letter N is order 2, which failed with "the order has no currency"
4. giving them back with a currency
   letter N is message N
   letter N stays: dead letter N: fix: codec: decode main.OrderPlaced from "application/json": invalid JSON, at offset 2
5. giving the other back with its bytes mended
   letter N is message N
6. a worker handles them
   order 2: billed 9.90 EUR
   order 3: billed 5.00 USD
   no dead letters
done
`

// ids differ from run to run: two letters are written in one statement, in any order.
var ids = regexp.MustCompile(`(letter|message) \d+`)

func TestDeadletters_TellsItsStory(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	self, err := os.Executable()
	is.NoErr(err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), asExample+"=yes")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	is.NoErr(err)
	using, story, _ := strings.Cut(string(out), "\n")
	is.True(strings.HasPrefix(using, "using PostgreSQL "))
	is.Equal(ids.ReplaceAllString(story, "$1 N"), told)
}
