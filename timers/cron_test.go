package timers_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones, wherever the test runs

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/timers"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestCron_WhenClocksChange(t *testing.T) {
	t.Parallel()
	const format = "Jan 2 15:04 -0700"
	tests := []struct {
		name, zone, expr string
		after            string // RFC 3339
		want             []string
	}{
		// Europe/Berlin: 2026-03-29 02:00 becomes 03:00, 2026-10-25 03:00 becomes 02:00.
		{"a time that is missing comes when the clock has jumped", "Europe/Berlin", "30 2 * * *", "2026-03-28T00:00:00+01:00",
			[]string{"Mar 28 02:30 +0100", "Mar 29 03:00 +0200", "Mar 30 02:30 +0200"}},
		{"a time that comes twice is used once", "Europe/Berlin", "30 2 * * *", "2026-10-24T00:00:00+02:00",
			[]string{"Oct 24 02:30 +0200", "Oct 25 02:30 +0200", "Oct 26 02:30 +0100"}},
		{"also seen from between the two", "Europe/Berlin", "30 2 * * *", "2026-10-25T02:45:00+02:00", []string{"Oct 26 02:30 +0100"}},
		{"also seen from the second", "Europe/Berlin", "30 2 * * *", "2026-10-25T02:15:00+01:00", []string{"Oct 26 02:30 +0100"}},
		{"several missing times come as one", "Europe/Berlin", "*/20 2 * * *", "2026-03-29T00:00:00+01:00",
			[]string{"Mar 29 03:00 +0200", "Mar 30 02:00 +0200"}},
		{"and not beside the one at the jump", "Europe/Berlin", "0,30 2,3 * * *", "2026-03-29T00:00:00+01:00",
			[]string{"Mar 29 03:00 +0200", "Mar 29 03:30 +0200", "Mar 30 02:00 +0200"}},
		{"the hour before a jump is as ever", "Europe/Berlin", "59 1 * * *", "2026-03-29T00:00:00+01:00",
			[]string{"Mar 29 01:59 +0100", "Mar 30 01:59 +0200"}},
		{"the hour after it too", "Europe/Berlin", "0 3 * * *", "2026-03-29T00:00:00+01:00",
			[]string{"Mar 29 03:00 +0200", "Mar 30 03:00 +0200"}},
		{"the end of a repeated hour", "Europe/Berlin", "0 3 * * *", "2026-10-25T00:00:00+02:00",
			[]string{"Oct 25 03:00 +0100", "Oct 26 03:00 +0100"}},
		{"every half hour has nothing in a missing hour", "Europe/Berlin", "*/30 * * * *", "2026-03-29T01:00:00+01:00",
			[]string{"Mar 29 01:30 +0100", "Mar 29 03:00 +0200", "Mar 29 03:30 +0200"}},
		{"every half hour goes on through a repeated one", "Europe/Berlin", "*/30 * * * *", "2026-10-25T02:00:00+02:00",
			[]string{"Oct 25 02:30 +0200", "Oct 25 02:00 +0100", "Oct 25 02:30 +0100", "Oct 25 03:00 +0100"}},
		{"every hour", "Europe/Berlin", "@hourly", "2026-10-25T01:30:00+02:00",
			[]string{"Oct 25 02:00 +0200", "Oct 25 02:00 +0100", "Oct 25 03:00 +0100"}},
		{"every second hour", "Europe/Berlin", "0 */2 * * *", "2026-03-29T00:30:00+01:00",
			[]string{"Mar 29 04:00 +0200", "Mar 29 06:00 +0200"}},
		{"once a year, in a missing hour", "Europe/Berlin", "15 2 29 3 *", "2025-12-01T00:00:00+01:00",
			[]string{"Mar 29 03:00 +0200", "Mar 29 02:15 +0200"}},
		{"a missing midnight", "Africa/Cairo", "0 0 * * *", "2025-04-24T12:00:00+02:00",
			[]string{"Apr 25 01:00 +0300", "Apr 26 00:00 +0300"}},
		{"a repeated hour before midnight", "Africa/Cairo", "30 23 * * *", "2025-10-30T12:00:00+03:00",
			[]string{"Oct 30 23:30 +0300", "Oct 31 23:30 +0200"}},
		{"half an hour", "Australia/Lord_Howe", "15 2 * * *", "2026-10-03T12:00:00+10:30",
			[]string{"Oct 4 02:30 +1100", "Oct 5 02:15 +1100"}},
		{"half an hour back", "Australia/Lord_Howe", "45 1 * * *", "2026-04-04T12:00:00+11:00",
			[]string{"Apr 5 01:45 +1100", "Apr 6 01:45 +1030"}},
		{"a day that is missing", "Pacific/Apia", "0 12 30 * *", "2011-12-29T00:00:00-10:00",
			[]string{"Dec 31 00:00 +1400", "Jan 30 12:00 +1400"}},
		{"no changes", "UTC", "30 2 * * *", "2026-03-28T12:00:00Z", []string{"Mar 29 02:30 +0000", "Mar 30 02:30 +0000"}},
		{"no zone", "", "30 2 * * *", "2026-03-28T12:00:00+05:00", []string{"Mar 29 02:30 +0000"}},
		{"an instant of another zone", "America/New_York", "30 2 * * *", "2026-03-07T12:00:00+09:00",
			[]string{"Mar 7 02:30 -0500", "Mar 8 03:00 -0400", "Mar 9 02:30 -0400"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			r := timers.Cron(tt.expr, tt.zone)
			is.NoErr(r.Err())
			at, err := time.Parse(time.RFC3339, tt.after)
			is.NoErr(err)
			var got []string
			for range tt.want {
				next := r.Next(at)
				is.True(next.After(at))
				is.Equal(next.Location().String(), zone(t, tt.zone).String())
				got = append(got, next.Format(format))
				at = next
			}
			is.Equal(got, tt.want)
		})
	}
}

func TestCron_Expressions(t *testing.T) {
	t.Parallel()
	after := time.Date(2026, 11, 24, 6, 0, 30, 500, time.UTC) // a Tuesday
	for expr, want := range map[string]string{
		"* * * * *":            "2026-11-24 06:01",
		"0 6 * * *":            "2026-11-25 06:00",
		"@daily":               "2026-11-25 00:00",
		"@weekly":              "2026-11-29 00:00",
		"@monthly":             "2026-12-01 00:00",
		"@yearly":              "2027-01-01 00:00",
		"15,45 9-17/4 * * 1-5": "2026-11-24 09:15",
		"0 0 * JAN SUN":        "2027-01-03 00:00",
		"0 0 * * 7":            "2026-11-29 00:00",
		"0 12 13 * 5":          "2026-11-27 12:00", // the 13th, or a Friday
		"0 0 29 2 *":           "2028-02-29 00:00",
		"0 0 L * *":            "2026-11-30 00:00",
		"0 0 15W * *":          "2026-12-15 00:00",
		"0 0 * * 5L":           "2026-11-27 00:00",
		"0 0 * * FRI#2":        "2026-12-11 00:00",
		"  0   6 *  * * ":      "2026-11-25 06:00",
	} {
		r := timers.Cron(expr, "")
		if got := r.Next(after).Format("2006-01-02 15:04"); r.Err() != nil || got != want {
			t.Errorf("%q: got %s and %v, want %s", expr, got, r.Err(), want)
		}
	}
}

func TestRecurrence_RefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		r    timers.Recurrence
		says string
	}{
		{timers.Cron("0 0 30 2 *", "UTC"), "never fires"},
		{timers.Cron("0 0 31 4,6,9,11 *", "UTC"), "never fires"},
		{timers.Cron("61 * * * *", "UTC"), "61"},
		{timers.Cron("* * * *", "UTC"), "4 fields"},
		{timers.Cron("0 * * * * *", "UTC"), "6 fields"},
		{timers.Cron("", "UTC"), "0 fields"},
		{timers.Cron("@reboot", "UTC"), "1 fields"},
		{timers.Cron("@every 5m", "UTC"), "2 fields"},
		{timers.Cron("a b c d e", "UTC"), "cron"},
		{timers.Cron("0 0 * * FOO", "UTC"), "FOO"},
		{timers.Cron("1-0 * * * *", "UTC"), "1-0"},
		{timers.Cron("*/0 * * * *", "UTC"), "cron"},
		{timers.Cron(strings.Repeat("9", 1000)+" * * * *", "UTC"), "cron"},
		{timers.Cron("0 0 * * *", "Mars/Olympus"), "Mars/Olympus"},
		{timers.Cron("0 0 * * *", "Local"), "Local"},
		{timers.Every(0), "every 0s"},
		{timers.Every(-time.Hour), "-1h"},
		{timers.Every(time.Millisecond), "100ms"},
		{timers.Every(1<<63 - 1), "every"},
		{timers.Recurrence{}, "use Every or Cron"},
	} {
		is := is.New(t)
		err := tt.r.Err()
		is.True(errors.Is(err, timers.ErrInvalidRecurrence))
		if !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 1500 {
			t.Errorf("%v: %q does not say %q", tt.r, err, tt.says)
		}
		is.True(tt.r.Next(time.Now()).IsZero())
		is.True(tt.r.String() != "")
	}
}

func TestEvery_IsAtTheMultiplesOfTheInterval(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	after := time.Date(2026, 11, 24, 6, 7, 8, 9, time.FixedZone("x", 3600))
	for interval, want := range map[time.Duration]string{
		100 * time.Millisecond: "2026-11-24T05:07:08.1Z",
		15 * time.Minute:       "2026-11-24T05:15:00Z",
		24 * time.Hour:         "2026-11-25T00:00:00Z",
		7 * 24 * time.Hour:     "2026-11-30T00:00:00Z", // a Monday
	} {
		next := timers.Every(interval).Next(after)
		is.Equal(next.Format(time.RFC3339Nano), want)
		is.Equal(timers.Every(interval).Next(next), next.Add(interval)) // strictly after
	}
}

// The parser is held to crontab(5) by looking at every minute.
func TestCron_AgreesWithEveryMinute(t *testing.T) {
	t.Parallel()
	for range 300 {
		fields := []string{randomField(0, 59), randomField(0, 23), randomField(1, 31), randomField(1, 12), randomField(0, 6)}
		expr := strings.Join(fields, " ")
		after := time.Date(2020+rand.IntN(10), time.Month(1+rand.IntN(12)), 1+rand.IntN(28), rand.IntN(24), rand.IntN(60), rand.IntN(60), 0, time.UTC)
		r := timers.Cron(expr, "")
		want := everyMinute(fields, after)
		if got := r.Next(after); !got.Equal(want) {
			t.Errorf("%q after %v: got %v (%v), want %v", expr, after, got, r.Err(), want)
		}
	}
}

func randomField(low, high int) string {
	value := func() int { return low + rand.IntN(high-low+1) }
	switch rand.IntN(6) {
	case 0, 1:
		return "*"
	case 2:
		return fmt.Sprint(value())
	case 3:
		ends := []int{value(), value()}
		slices.Sort(ends)
		return fmt.Sprintf("%d-%d/%d", ends[0], ends[1], 1+rand.IntN(10))
	case 4:
		return fmt.Sprintf("*/%d", 1+rand.IntN(15))
	}
	return fmt.Sprintf("%d,%d", value(), value())
}

// everyMinute finds the next tick by trying; zero: none in 45 years.
func everyMinute(fields []string, after time.Time) time.Time {
	matches := func(field string, low, high, value int) bool {
		for part := range strings.SplitSeq(field, ",") {
			from, to, step := low, high, 1
			if n, _ := fmt.Sscanf(part, "*/%d", &step); n == 0 && part != "*" {
				if n, _ := fmt.Sscanf(part, "%d-%d/%d", &from, &to, &step); n == 1 {
					to = from
				}
			}
			if value >= from && value <= to && (value-from)%step == 0 {
				return true
			}
		}
		return false
	}
	both := fields[2][0] == '*' || fields[4][0] == '*'
	for day := after.Truncate(24 * time.Hour); day.Year() < after.Year()+45; day = day.AddDate(0, 0, 1) {
		date, weekday := matches(fields[2], 1, 31, day.Day()), matches(fields[4], 0, 6, int(day.Weekday()))
		if !matches(fields[3], 1, 12, int(day.Month())) || both && !(date && weekday) || !date && !weekday {
			continue
		}
		for minute := range 24 * 60 {
			at := day.Add(time.Duration(minute) * time.Minute)
			if at.After(after) && matches(fields[1], 0, 23, minute/60) && matches(fields[0], 0, 59, minute%60) {
				return at
			}
		}
	}
	return time.Time{}
}
