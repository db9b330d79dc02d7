package main

// line is what a metric amounts to with one system, and beside the library, or whatever system comes first.
type line struct {
	Scenario string   `json:"scenario"`
	Metric   string   `json:"metric"`
	Unit     string   `json:"unit,omitempty"`
	System   string   `json:"system"`
	Rounds   summary  `json:"rounds"`
	Ratio    *summary `json:"ratio,omitempty"` // of the first system to this one, of the rounds of each
	Noisy    bool     `json:"noisy"`           // too noisy to conclude from
}

// lines sums up a comparison, metric by metric.
func (c comparison) lines() (out []line) {
	for _, m := range c.Metrics {
		for _, system := range c.Systems {
			s := c.of(m.Name, system)
			if s.N == 0 {
				continue
			}
			l := line{Scenario: c.Scenario, Metric: m.Name, Unit: m.Unit, System: system, Rounds: s, Noisy: s.noisy()}
			if ratio := c.ratio(m.Name, c.Systems[0], system); system != c.Systems[0] && !m.Own && ratio.N > 0 {
				l.Ratio = &ratio
				l.Noisy = ratio.noisy() // what slowed down a whole round is not in it
			}
			out = append(out, l)
		}
	}
	return out
}

// outcome is a goal beside what was reached, for the report.
type outcome struct {
	Goal    string  `json:"goal"`
	Got     summary `json:"got"`
	Reached string  `json:"reached"`
}

func outcomes(c comparison) (out []outcome) {
	for _, v := range judge(c) {
		out = append(out, outcome{v.goal.String(), v.got, v.reached()})
	}
	return out
}
