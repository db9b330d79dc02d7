package typed_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// exports finds what the compiler has built of this module and what it needs.
func exports(t *testing.T) importer.Lookup {
	t.Helper()
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "../typed", "../codec", "../queue")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
}

// What must not compile: publishing outside a transaction, and values and
// handlers of another type.
func TestCompiler_RefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	const head = `package p
import (
	"context"
	"database/sql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)
type order struct{}
type parcel struct{}
var orders = typed.NewQueue[order]("orders")
func f(ctx context.Context, tx pgx.Tx, pooltx *pgxpool.Tx, pool *pgxpool.Pool, conn *pgx.Conn, db *sql.DB, sqltx *sql.Tx) {
	_, _, _, _, _, _ = codec.JSON[order](), queue.SQL(sqltx), pool, conn, db, pooltx
	`
	tests := []struct{ code, says string }{
		{`orders.Publish(ctx, tx, order{})`, ""},
		{`orders.Publish(ctx, pooltx, order{})`, ""},
		{`orders.Publish(ctx, queue.SQL(sqltx), order{})`, ""},
		{`orders.Publish(ctx, queue.Autocommit(pool), order{})`, ""},
		{`orders.Publish(ctx, queue.Autocommit(conn), order{})`, ""},
		{`typed.NewQueue("orders", codec.MsgPack[order]()).Publish(ctx, tx, order{})`, ""},
		{`orders.Handle(func(context.Context, order) error { return nil }, queue.Concurrency(1))`, ""},

		{`orders.Publish(ctx, pool, order{})`, "missing method Commit"},
		{`orders.Publish(ctx, conn, order{})`, "missing method Commit"},
		{`orders.Publish(ctx, db, order{})`, "missing method Commit"},
		{`orders.Publish(ctx, sqltx, order{})`, "wrong type for method Commit"},
		{`orders.Publish(ctx, queue.SQL(db), order{})`, "as *sql.Tx value"},
		{`orders.Publish(ctx, tx, parcel{})`, "as order value"},
		{`orders.PublishBatch(ctx, tx, []parcel{})`, "as []order value"},
		{`orders.Handle(func(context.Context, parcel) error { return nil })`, "cannot use (func"},
		{`orders.HandleTx(func(context.Context, *sql.Tx, order) error { return nil })`, "cannot use (func"},
		{`typed.NewQueue[order]("orders", codec.JSON[parcel]())`, "cannot use codec.JSON"},
		{`orders.Publish(ctx, tx, order{}, queue.Concurrency(1))`, "as queue.PublishOption value"},
		{`orders.Handle(func(context.Context, order) error { return nil }, queue.Grace(1))`, "as queue.SubscribeOption value"},
	}
	fset := token.NewFileSet()
	from := importer.ForCompiler(fset, "gc", exports(t))
	for _, tt := range tests {
		is := is.New(t)
		file, err := parser.ParseFile(fset, "p.go", head+tt.code+"\n}", 0)
		is.NoErr(err)
		_, err = (&types.Config{Importer: from}).Check("p", fset, []*ast.File{file}, nil)
		switch {
		case tt.says == "":
			if err != nil {
				t.Errorf("%s does not compile: %v", tt.code, err)
			}
		case err == nil:
			t.Errorf("%s compiles", tt.code)
		case !strings.Contains(err.Error(), tt.says):
			t.Errorf("%s: %q does not say %q", tt.code, err, tt.says)
		}
	}
}
