package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// settings warns of storage settings.
func (c *comparison) settings(live *liveRelation) {
	has := map[string]string{}
	for _, o := range live.Options {
		name, value, _ := strings.Cut(o, "=")
		has[name] = value
	}
	for _, s := range c.need.settings {
		value, there := has[s.name]
		if there && (!s.exactly || equal(value, s.value)) {
			continue
		}
		c.warn(Difference{
			Part: SettingPart, Name: s.name, Need: s.value, Have: value, Missing: !there,
			Mend: fmt.Sprintf("ALTER TABLE %s SET (%s = %s)", c.at, s.name, s.value),
		})
	}
	if off, ok := has["autovacuum_enabled"]; ok && slices.Contains([]string{"false", "off", "no", "0"}, strings.ToLower(off)) {
		c.warn(Difference{
			Part: SettingPart, Name: "autovacuum_enabled", Need: "true", Have: off,
			Mend: "ALTER TABLE " + c.at + " RESET (autovacuum_enabled)",
		})
	}
}

// equal compares settings, which may be spelled in more than one way.
func equal(a, b string) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}

// rights warns of what the role may not do. A publisher, a worker and one who
// looks on need different rights, so none of it is a difference.
func (c *comparison) rights(live *liveRelation) {
	d := Difference{Part: PrivilegePart, Name: c.role}
	if !live.Usable {
		d.Need, d.Have = "USAGE on the schema "+quote(live.Schema), "none"
		d.Mend = "GRANT USAGE ON SCHEMA " + quote(live.Schema) + " TO " + quote(c.role)
		c.warn(d)
	}
	var lacks []string
	for _, r := range c.need.rights {
		if !slices.Contains(live.Rights, r) {
			lacks = append(lacks, r)
		}
	}
	if len(lacks) > 0 {
		d.Need = strings.Join(c.need.rights, ", ") + " " + c.need.rightsFor
		d.Have = strings.Join(live.Rights, ", ")
		if d.Have == "" {
			d.Have = "none"
		}
		d.Mend = "GRANT " + strings.Join(lacks, ", ") + " ON " + c.at + " TO " + quote(c.role)
		c.warn(d)
	}
	if live.Secured {
		d.Part, d.Name = TablePart, c.need.name
		d.Need, d.Have, d.Mend = "every row for the role "+quote(c.role), "row level security, which may hide some", ""
		c.warn(d)
	}
}
