package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// report is everything that a program's run found, with what is needed to repeat it.
type report struct {
	Date       string            `json:"date"`
	Go         string            `json:"go"`
	Machine    string            `json:"machine"`
	Server     string            `json:"server"`
	Settings   map[string]string `json:"settings"` // of the server
	Versions   map[string]string `json:"versions"` // of the systems
	Results    []result          `json:"results"`
	Summary    []line            `json:"summary"`
	Goals      []outcome         `json:"goals"`
	comparison []comparison
}

// notable settings of a server are those that decide how fast it is.
const notable = `fsync, synchronous_commit, full_page_writes, shared_buffers, max_wal_size, autovacuum`

func newReport(ctx context.Context, s *server) *report {
	r := &report{
		Date:     time.Now().UTC().Format(time.DateOnly),
		Go:       runtime.Version(),
		Machine:  fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
		Server:   "PostgreSQL " + s.lock.PgConn().ParameterStatus("server_version"),
		Settings: map[string]string{},
		Versions: map[string]string{},
	}
	for name := range strings.SplitSeq(notable, ", ") {
		var value string
		if err := s.lock.QueryRow(ctx, `SELECT current_setting($1)`, name).Scan(&value); err == nil {
			r.Settings[name] = value
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			for _, known := range []string{"jackc/pgx/v5", "riverqueue/river", "ThreeDotsLabs/watermill-sql/v4"} {
				if strings.HasSuffix(d.Path, known) {
					r.Versions[d.Path] = d.Version
				}
			}
		}
	}
	return r
}

func (r *report) add(c comparison) {
	if len(c.Results) == 0 {
		return
	}
	r.comparison = append(r.comparison, c)
	r.Results = append(r.Results, c.Results...)
	r.Summary = append(r.Summary, c.lines()...)
	r.Goals = append(r.Goals, outcomes(c)...)
}

// write writes the results in the form that the settings ask for.
func (r *report) write(w io.Writer, set settings) error {
	if set.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	if _, err := fmt.Fprintln(w, "\n"+r.circumstances()); err != nil {
		return err
	}
	for _, c := range r.comparison {
		if err := writeComparison(w, c); err != nil {
			return err
		}
	}
	return nil
}

// circumstances is what somebody needs to know who reads the numbers.
func (r *report) circumstances() string {
	s := fmt.Sprintf("%s, %s on %s, %s", r.Date, r.Go, r.Machine, r.Server)
	for _, name := range sorted(r.Settings) {
		s += fmt.Sprintf(", %s %s", name, r.Settings[name])
	}
	for _, name := range sorted(r.Versions) {
		s += fmt.Sprintf(", %s %s", name, r.Versions[name])
	}
	return s
}

// String is a result in one line.
func (r result) String() string {
	s := fmt.Sprintf("%-9s %-10s round %d, %4.1f s:", r.Scenario, r.System, r.Round, r.Took)
	for _, m := range r.Metrics {
		s += fmt.Sprintf("  %s %s", m.Name, number(m.Value))
		if m.Unit != "" {
			s += " " + m.Unit
		}
	}
	for _, a := range r.Audits {
		if a.Again > 0 {
			s += fmt.Sprintf("  (%d handled again, %d leases lost)", a.Again, a.LeasesLost)
		}
	}
	return s
}
