package main

import (
	"io"
	"strings"
	"text/template"
	"time"
)

// report writes what a run found, as Markdown.
func report(out io.Writer, s *stage, f findings) error {
	var faults []count
	for _, k := range kinds {
		if n := s.injected[k.name]; n > 0 {
			faults = append(faults, count{k.name, n})
		}
	}
	byMessages, total := disturbances(f.kinds)
	var injected int64
	for _, c := range faults {
		injected += c.N
	}
	origin, _, _ := strings.Cut(s.server.Origin(), " from ")
	return reportTemplate.Execute(out, map[string]any{
		"Seed": s.set.seed, "Lasts": s.set.lasts, "Workers": s.set.workers, "Sabotage": s.set.sabotage, "Server": origin,
		"Date":    time.Now().Format(time.DateOnly),
		"Commits": s.pub.commits.Load(), "Rollbacks": s.pub.rollbacks.Load(), "Failures": s.pub.failures.Load(),
		"Committed": f.committed, "Handled": f.handled, "Dead": f.dead, "Left": f.left, "Lost": f.lost,
		"Runs": f.runs, "Twice": f.twice, "Steals": f.steals, "Why": f.why, "Reasons": f.reasons,
		"Faults": faults, "Injected": injected, "ByMessages": byMessages, "Disturbing": total,
		"Slowest": s.slowest.Round(10 * time.Millisecond), "Breaches": f.breaches, "Rules": len(rules),
	})
}

// disturbances are the messages that bring a fault of their own, by what they do.
func disturbances(kinds []count) (each []count, total int64) {
	for _, c := range []struct{ step, what string }{
		{string(stepFail), "return an error"},
		{string(stepPanic), "panic"},
		{string(stepPermanent), "return a permanent error"},
		{string(stepBlock), "block past their lease"},
		{string(stepStubborn), "ignore cancellation, past their lease"},
		{string(stepDeadly), "kill their worker"},
		{"poison", "do not decode"},
	} {
		var n int64
		for _, k := range kinds {
			if strings.Contains(k.What, c.step) {
				n += k.N
			}
		}
		if n > 0 {
			each = append(each, count{"handlers that " + c.what, n})
			total += n
		}
	}
	for i, c := range each {
		each[i].What = strings.Replace(c.What, "handlers that do not decode", "payloads that do not decode", 1)
	}
	return each, total
}

var reportTemplate = template.Must(template.New("report").Parse(
	`### Seed {{.Seed}}: {{.Lasts}}, {{.Workers}} worker processes, {{.Server}}, {{.Date}}
{{if .Sabotage}}
Workers without the guard of the lease token.
{{end}}
| | |
|---|---:|
| messages committed | {{.Committed}} |
| of these handled | {{.Handled}} |
| dead letters | {{.Dead}} |
| still there | {{.Left}} |
| **lost** | **{{.Lost}}** |
| runs of handlers | {{.Runs}} |
| runs again after a success, each after a lost lease or a claim undone by a crash | {{.Twice}} |
| leases lost to another worker | {{.Steals}} |
| slowest drain | {{.Slowest}} |
| transactions of publishers committed / rolled back / failed | {{.Commits}} / {{.Rollbacks}} / {{.Failures}} |

| faults injected | {{.Injected}} |
|---|---:|
{{range .Faults}}| {{.What}} | {{.N}} |
{{end}}{{range .ByMessages}}| {{.What}} | {{.N}} |
{{end}}
| why a message was run again | |
|---|---:|
{{range .Why}}| {{.What}} | {{.N}} |
{{end}}
| why a message is dead | |
|---|---:|
{{range .Reasons}}| {{.What}} | {{.N}} |
{{end}}
{{with .Breaches}}**Breaches:**

{{range .}}- {{.}}
{{end}}{{else}}All {{.Rules}} rules of the audit hold.
{{end}}`))
