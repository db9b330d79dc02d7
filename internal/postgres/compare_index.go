package postgres

import (
	"fmt"
	"slices"
	"strings"
)

// index looks for an index that serves, whatever its name; else it says what is
// wrong with the one that has the name.
func (c *comparison) index(need index, table *liveRelation) {
	var named *liveIndex
	for i := range table.Indexes {
		x := &table.Indexes[i]
		if len(need.wrong(x)) == 0 {
			return
		}
		if x.Name == need.name || need.primary && x.Primary { // there can be one primary key
			named = x
		}
	}
	d := Difference{Part: IndexPart, Name: need.name, Need: need.String()}
	if named == nil {
		d.Missing = true
		taken := slices.ContainsFunc(c.relations, func(r *liveRelation) bool {
			return r.Schema == table.Schema && r.Name == need.name
		})
		if taken {
			d.Have = "the name is that of something else"
		}
		d.Mend = need.create(c.at, !taken)
		c.add(d)
		return
	}
	d.Have = strings.Join(need.wrong(named), ", ")
	d.Mend = named.drop(c.at) + "; " + need.create(c.at, true)
	c.add(d)
}

// drop is the statement that removes the index.
func (x *liveIndex) drop(table string) string {
	if x.Constraint != "" {
		return "ALTER TABLE " + table + " DROP CONSTRAINT " + quote(x.Constraint)
	}
	return "DROP INDEX " + quote(x.Schema) + "." + quote(x.Name)
}

// wrong lists what keeps a live index from serving.
func (x index) wrong(live *liveIndex) (wrong []string) {
	if !live.Usable {
		wrong = append(wrong, "it is invalid, since its creation has failed or goes on")
	}
	if live.Method != "btree" {
		wrong = append(wrong, "its method is "+live.Method)
	}
	if live.Unique != x.unique {
		wrong = append(wrong, map[bool]string{true: "it is unique", false: "it is not unique"}[live.Unique])
	}
	if !slices.Equal(live.Columns, x.columns) {
		wrong = append(wrong, "its columns are ("+strings.Join(live.Columns, ", ")+")")
	}
	if where := bare(live.Where); where != x.where {
		if where == "" {
			where = "of all rows"
		} else {
			where = "WHERE " + where
		}
		wrong = append(wrong, "it is "+where)
	}
	if !live.Serves {
		wrong = append(wrong, "its order, its collation, its operator class or its being deferred does not serve")
	}
	return wrong
}

func (x index) String() string {
	if x.primary {
		return fmt.Sprintf("PRIMARY KEY (%s)", strings.Join(x.columns, ", "))
	}
	return x.kind() + x.what()
}
