package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// catalog is what the database says of the tables. All of it can be read by every
// role: the catalogs hide nothing.
type catalog struct {
	role, path string
	schema     bool // the schema that the names ask for is there
	named      bool // they ask for one, and the search_path does not matter
	relations  []*liveRelation
}

// liveRelation is anything that has one of the names.
type liveRelation struct {
	ID           int64
	Schema, Name string
	Kind         string // pg_class.relkind
	Persistence  string // pg_class.relpersistence
	Options      []string
	Place        *int // in the search_path, or 1 where the schema was asked for; nil: it is not found
	Usable       bool // the role may use the schema
	Rights       []string
	Secured      bool // row level security hides rows from the role

	// These are read where the name finds the relation.
	Columns []liveColumn `db:"-"`
	Indexes []liveIndex  `db:"-"`
	Checks  []liveCheck  `db:"-"`
}

// relationsSQL finds the tables and what stands in the way of their indexes.
const relationsSQL = `
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, COALESCE(c.reloptions, '{}'),
       CASE WHEN $2 = '' THEN array_position(current_schemas(true), n.nspname)
            WHEN $2 = n.nspname THEN 1 END,
       has_schema_privilege(n.oid, 'USAGE'),
       CASE WHEN c.relkind IN ('r', 'p', 'v', 'm', 'f') THEN
            ARRAY(SELECT r FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) WITH ORDINALITY AS u(r, place)
                  WHERE has_table_privilege(c.oid, r) ORDER BY place)
            ELSE '{}' END,
       c.relkind IN ('r', 'p') AND row_security_active(c.oid)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = ANY($1::text[])
ORDER BY 7, 2, 3`

// sessionSQL says who asks, and where.
const sessionSQL = `
SELECT current_user::text, array_to_string(current_schemas(false), ', '),
       $1 = '' OR EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)`

type liveColumn struct {
	Name      string
	Type      string
	NotNull   bool
	Default   string
	Identity  bool
	Generated bool
	Draws     bool   // the default is the next value of the sequence that the column owns
	Ownable   string // the sequence whose next value the default is, where no column owns it
	// Sequences are those that the default draws from and the role may not.
	Sequences []string
}

const liveColumnsSQL = `
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       CASE WHEN a.attgenerated = '' THEN COALESCE(pg_get_expr(d.adbin, d.adrelid), '') ELSE '' END,
       a.attidentity <> '', a.attgenerated <> '',
       COALESCE((q.owner, q.place) = (a.attrelid, a.attnum), false), CASE WHEN q.owner IS NULL THEN COALESCE(q.name, '') ELSE '' END,
       ARRAY(SELECT p.refobjid::regclass::text FROM pg_catalog.pg_depend AS p
             JOIN pg_catalog.pg_class AS s ON s.oid = p.refobjid
             WHERE p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid
               AND p.refclassid = 'pg_catalog.pg_class'::regclass
               AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') END)
FROM pg_catalog.pg_attribute AS a
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN LATERAL (
  SELECT p.refobjid::regclass::text AS name, o.refobjid AS owner, o.refobjsubid AS place
  FROM pg_catalog.pg_depend AS p
  JOIN pg_catalog.pg_class AS s ON s.oid = p.refobjid AND s.relkind = 'S'
  LEFT JOIN pg_catalog.pg_depend AS o ON o.classid = 'pg_catalog.pg_class'::regclass AND o.objid = s.oid
    AND o.refclassid = 'pg_catalog.pg_class'::regclass AND o.deptype IN ('a', 'i')
  WHERE p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_catalog.pg_class'::regclass
    AND pg_get_expr(d.adbin, d.adrelid) = 'nextval(' || quote_literal(p.refobjid::regclass::text) || '::regclass)'
) AS q ON true
WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum`

type liveIndex struct {
	Schema, Name string
	Method       string
	Columns      []string
	Where        string
	Unique       bool
	Primary      bool
	Usable       bool   // it was built to its end
	Serves       bool   // its order, collations and operator classes are those that statements ask for
	Constraint   string // that it belongs to
}

// liveIndexesSQL: an order is of use where it is that of the columns or the very
// reverse, which are the options 0 and 3. An operator class other than the default
// one has that order too where it is of the same family, as varchar_ops is.
const liveIndexesSQL = `
SELECT n.nspname, c.relname, m.amname,
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true) FROM generate_series(1, i.indnkeyatts) AS k ORDER BY k),
       COALESCE(pg_get_expr(i.indpred, i.indrelid), ''), i.indisunique, i.indisprimary,
       i.indisvalid AND i.indisready AND i.indislive,
       i.indimmediate AND NOT EXISTS (
         SELECT FROM generate_series(0, i.indnkeyatts - 1) AS k
         LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k]
         WHERE i.indoption[k] NOT IN (0, 3) OR a.attcollation <> i.indcollation[k]
           OR NOT EXISTS (
             SELECT FROM pg_catalog.pg_opclass AS o JOIN pg_catalog.pg_opclass AS f ON f.opcfamily = o.opcfamily AND f.opcdefault
             WHERE o.oid = i.indclass[k])),
       COALESCE((SELECT conname FROM pg_catalog.pg_constraint WHERE conindid = i.indexrelid AND contype IN ('p', 'u', 'x')), '')
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
WHERE i.indrelid = $1::bigint::oid
ORDER BY c.relname`

// liveCheck is an enforced check over no columns but those of the lease.
type liveCheck struct {
	Name, Expr string
	Validated  bool
}

// liveChecksSQL passes over checks that call functions of others: they may do
// anything, and are not ours to run. The lease's columns that are not there match
// nothing. Constraints that are not enforced came with PostgreSQL 18.
const liveChecksSQL = `
SELECT k.conname, pg_get_expr(k.conbin, k.conrelid), k.convalidated
FROM pg_catalog.pg_constraint AS k
WHERE k.conrelid = $1::bigint::oid AND k.contype = 'c' AND k.conkey <> '{}'
  AND COALESCE((to_jsonb(k) ->> 'conenforced')::boolean, true)
  AND NOT EXISTS (
    SELECT FROM unnest(k.conkey) AS n
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = n
    WHERE a.attname NOT IN ('acquired_token', 'acquired_at'))
  AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend AS d
    WHERE d.classid = 'pg_catalog.pg_constraint'::regclass AND d.objid = k.oid
      AND d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass))
ORDER BY k.conname`

// readCatalog reads what the catalogs say of the relations with the given names,
// in two round trips.
func (t *Table) readCatalog(ctx context.Context, tx pgx.Tx, names []string) (*catalog, error) {
	c := &catalog{named: t.names.Schema != ""}
	b := &pgx.Batch{}
	b.Queue(sessionSQL, t.names.Schema).QueryRow(func(row pgx.Row) error {
		return row.Scan(&c.role, &c.path, &c.schema)
	})
	b.Queue(relationsSQL, names, t.names.Schema).Query(func(rows pgx.Rows) (err error) {
		c.relations, err = pgx.CollectRows(rows, pgx.RowToAddrOfStructByPos[liveRelation])
		return err
	})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	b = &pgx.Batch{}
	for _, r := range c.relations {
		if r.Place != nil && r.Kind == "r" {
			r.read(b)
		}
	}
	return c, tx.SendBatch(ctx, b).Close()
}

// read queues the statements that read what the table is made of.
func (r *liveRelation) read(b *pgx.Batch) {
	b.Queue(liveColumnsSQL, r.ID).Query(func(rows pgx.Rows) (err error) {
		r.Columns, err = pgx.CollectRows(rows, pgx.RowToStructByPos[liveColumn])
		return err
	})
	b.Queue(liveIndexesSQL, r.ID).Query(func(rows pgx.Rows) (err error) {
		r.Indexes, err = pgx.CollectRows(rows, pgx.RowToStructByPos[liveIndex])
		return err
	})
	b.Queue(liveChecksSQL, r.ID).Query(func(rows pgx.Rows) (err error) {
		r.Checks, err = pgx.CollectRows(rows, pgx.RowToStructByPos[liveCheck])
		return err
	})
}

// find returns what a statement finds by a name; nil for nothing.
func (c *catalog) find(name string) *liveRelation {
	for _, r := range c.relations { // in the order of the search_path
		if r.Name == name && r.Place != nil {
			return r
		}
	}
	return nil
}

// elsewhere says where else there is a relation of that name, "" for nowhere.
func (c *catalog) elsewhere(name string) string {
	var found []string
	for _, r := range c.relations {
		switch {
		case r.Name != name || r.Place != nil:
		case !r.Usable:
			found = append(found, r.String()+", whose schema the role "+quote(c.role)+" may not use")
		default:
			found = append(found, r.String())
		}
	}
	return strings.Join(found, "; ")
}

func (r *liveRelation) String() string { return quote(r.Schema) + "." + quote(r.Name) }
