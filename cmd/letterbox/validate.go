package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/queue"
)

func newValidate(t *tool) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "validate",
		Short: "Compare the tables with what is needed",
		Long: `validate compares the live tables with what is needed, whoever made them, and prints every difference with the statement
that mends it where there is a safe one. It only reads the catalogs. The exit code is 3 where there is a difference.

Warnings are what works, but not well, or not for everybody: settings of autovacuum, and what the role may not do. They do
not change the exit code.`,
		Example: `  letterbox validate
  letterbox validate --schema warehouse --table parcels --dead-letters parcels_failed
  letterbox validate --json`,
		Args: args(),
		RunE: func(c *cobra.Command, _ []string) error {
			return t.look(c.Context(), func(ctx context.Context, pool *pgxpool.Pool) error { return t.validate(ctx, pool, asJSON) })
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (t *tool) validate(ctx context.Context, pool *pgxpool.Pool, asJSON bool) error {
	found, err := t.differences(ctx, pool)
	if err != nil {
		return err
	}
	warnings, err := t.outbox.Warnings(ctx, pool)
	if err != nil {
		return err
	}
	switch {
	case asJSON:
		err = t.json().print(struct {
			OK          bool         `json:"ok"`
			Differences []difference `json:"differences"`
			Warnings    []difference `json:"warnings"`
		}{len(found) == 0, newDifferences(found), newDifferences(warnings)})
	case len(found) == 0:
		t.line("%s: the tables are as needed", t.paint(green, "ok"))
	default:
		t.line("%s from what is needed", t.paint(red, plural(len(found), "difference")))
	}
	if !asJSON {
		t.explainDifferences(found)
		if len(warnings) > 0 {
			t.line("\n%s", t.paint(yellow, plural(len(warnings), "warning")))
			t.explainDifferences(warnings)
		}
	}
	if err == nil && len(found) > 0 {
		err = errNotInOrder
	}
	return err
}

// differences are what Validate finds. An error is only what kept it from looking.
func (t *tool) differences(ctx context.Context, pool *pgxpool.Pool) ([]queue.Difference, error) {
	err := t.outbox.Validate(ctx, pool)
	if found, ok := errors.AsType[*queue.SchemaError](err); ok {
		return found.Differences, nil
	}
	return nil, err
}

func (t *tool) explainDifferences(all []queue.Difference) {
	for i, d := range all {
		t.line("\n%d. %s", i+1, subject(d))
		t.line("   needs: %s", d.Need)
		if d.Have != "" {
			t.line("   has:   %s", d.Have)
		}
		switch {
		case d.Missing && d.Part == queue.PartTable:
			t.line("   mend:  letterbox migrate up")
		case d.Mend != "":
			t.line("   mend:  %s", strings.ReplaceAll(strings.TrimSpace(d.Mend), "\n", "\n          "))
		}
	}
}

// subject says what a difference is about.
func subject(d queue.Difference) string {
	s := string(d.Part) + " " + d.Table
	if d.Part != queue.PartTable || d.Table == "" {
		s = fmt.Sprintf("%s %q", d.Part, d.Name)
		if d.Table != "" {
			s += " of " + d.Table
		}
	}
	if d.Missing {
		s += " is missing"
	}
	return s
}

// difference is one in JSON.
type difference struct {
	Table   string     `json:"table"`
	Part    queue.Part `json:"part"`
	Name    string     `json:"name"`
	Missing bool       `json:"missing"`
	Need    string     `json:"need"`
	Have    string     `json:"have"`
	Mend    string     `json:"mend"`
}

func newDifferences(all []queue.Difference) []difference {
	list := make([]difference, len(all))
	for i, d := range all {
		list[i] = difference{d.Table, d.Part, d.Name, d.Missing, d.Need, d.Have, d.Mend}
	}
	return list
}
