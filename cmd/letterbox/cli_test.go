package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/matryer/is"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// leaves are the commands that do something, but those that cobra makes.
func leaves(c *cobra.Command) (all []*cobra.Command) {
	for _, sub := range c.Commands() {
		all = append(all, leaves(sub)...)
	}
	if !c.HasSubCommands() && c.Name() != "help" {
		all = append(all, c)
	}
	return all
}

func TestHelp_HasExamplesThatParse(t *testing.T) {
	t.Parallel()
	for _, c := range leaves(newRoot(&tool{})) {
		t.Run(c.CommandPath(), func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			path := strings.Fields(c.CommandPath())
			r := prepare(t, "", append(path[1:], "--help")...).run(t)
			r.wants(t, 0, "Examples:", "")
			is.True(c.Short != "" && c.Long != "")
			for line := range strings.Lines(c.Example) {
				is.Equal(parsed(t, strings.TrimSpace(line)), c.CommandPath())
			}
		})
	}
}

// parsed parses a command as on the command line, up to its own work, and returns which it is.
func parsed(t *testing.T, line string) string {
	t.Helper()
	is := is.New(t)
	words := split(t, line)
	is.Equal(words[0], "letterbox")
	root := newRoot(&tool{out: io.Discard, errs: io.Discard})
	root.InitDefaultCompletionCmd(words...)
	found, flags, err := root.Find(words[1:])
	is.NoErr(err)
	is.NoErr(found.ParseFlags(flags))
	is.NoErr(found.ValidateArgs(found.Flags().Args()))
	is.NoErr(found.ValidateFlagGroups())
	return found.CommandPath()
}

// split splits a line as a shell does, as far as the examples need it.
func split(t *testing.T, line string) (words []string) {
	t.Helper()
	line, _, _ = strings.Cut(line, " | ")
	line, _, _ = strings.Cut(line, " # ")
	line, _, _ = strings.Cut(line, " > ")
	for i, part := range strings.Split(line, "'") {
		if i%2 == 0 {
			words = append(words, strings.Fields(part)...)
		} else {
			words = append(words, part)
		}
	}
	if strings.Count(line, "'")%2 != 0 {
		t.Fatalf("a quote is open in %s", line)
	}
	return words
}

func TestUsage_IsExitCode2(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, says string }{
		{"", "a command is missing"},
		{"timrs", `did you mean "timers"`},
		{"timers", "a command is missing"},
		{"timers lst", `there is no command "letterbox timers lst"`},
		{"validate --jsn", "unknown flag: --jsn"},
		{"validate now", `"now" is one argument too many`},
		{"publish", "QUEUE is missing"},
		{"publish q --data 1 --file x", "if any flags in the group [data file] are set none of the others can be"},
		{"publish q --data 1 --header nothing", "--header is written name=value"},
		{"publish q --data 1 --batch-commit 5", "are for --lines"},
		{"publish letterbox.paused --data 1", "invalid queue name"},
		{"validate --table " + strings.Repeat("x", 60), "too long"},
		{"validate --timeout soon", "invalid argument"},
		{"publish q --data 1 --notify often", "it is one of sleeping, always, never"},
		{"migrate print --tool flyway", `no tool "flyway" is known`},
		{"migrate print --tool goose --number 0", "must be above zero"},
		{"dlq replay", "say which letters"},
		{"dlq replay --all --queue q", "say which letters"},
		{"dlq purge", "say which letters"},
		{"dlq purge --all --batch 0", "--batch is 0"},
		{"dlq replay --all --rate 0", "--rate is 0"},
		{"dlq list --failed-after yesterday", "it is written 2006-01-02"},
		{"dlq list --older-than 3w", "it is written 90s, 15m, 12h or 30d"},
		{"dlq list --limit -1", "--limit is -1"},
		{"dlq show first", `"first" is no id`},
		{"timers cancel", "QUEUE is missing"},
		{"timers cancel q", "say which timers"},
		{"timers cancel q a --all", "say which timers"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			r := prepare(t, "postgres://u@127.0.0.1:1/x", strings.Fields(tt.args)...).run(t) // it never connects
			r.wants(t, 2, "", tt.says)
			r.wants(t, 2, "", "--help'.\n")
		})
	}
}

func TestDatabase_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, tt := range []struct {
		name, dsn string
		args      string
		code      int
		says      string
	}{
		{"none", "", "validate", 2, "which database?"},
		{"no DSN", "postgres//x", "validate", 2, "the DSN cannot be read"},
		{"nobody there", "postgres://u@127.0.0.1:1/x", "validate", 1, "connection refused"},
		{"no such database", replaceDatabase(t, db), "dlq list", 1, `database "nowhere" does not exist`},
		{"no answer", "postgres://u@192.0.2.1/x", "dlq list --timeout 50ms", 1, "connect to the database"},
		{"no table", db.DSN, "dlq list", 1, "'letterbox migrate up' makes what is missing"},
		{"no table to publish to", db.DSN, "publish q --data 1", 1, "the outbox table does not exist"},
		{"no table of that name", db.DSN, "timers list --schema here --table there", 1, "the outbox table does not exist"},
		{"no table to pause in", db.DSN, "pause q", 1, "the outbox table does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			prepare(t, tt.dsn, strings.Fields(tt.args)...).run(t).wants(t, tt.code, "", tt.says)
		})
	}
}

func replaceDatabase(t *testing.T, db *pgtest.DB) string {
	t.Helper()
	c := db.Pool.Config().ConnConfig
	return fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=nowhere", c.Host, c.Port, c.User, c.Password)
}

// A server that takes connections and says nothing, as one that hangs does, leaves time for the next.
func TestDatabase_OfSeveralServersIsTheFirstThatAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, dsn, env, timeout string }{
		{"with shares of --timeout", "", "", "8s"},
		{"with a connect_timeout in the DSN", "connect_timeout=1", "", "1h"},
		{"with PGCONNECT_TIMEOUT", "", "PGCONNECT_TIMEOUT=1", "1h"},
		{"with a connect_timeout and no limit else", "connect_timeout=1", "", "0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := made(t)
			silent, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
			is.NoErr(err)
			defer silent.Close()
			c := db.Pool.Config().ConnConfig
			dsn := fmt.Sprintf("host=127.0.0.1,%s port=%d,%d user=%s password='%s' dbname=%s %s",
				c.Host, silent.Addr().(*net.TCPAddr).Port, c.Port, c.User, c.Password, c.Database, tt.dsn)
			r := prepare(t, dsn, "status", "--timeout", tt.timeout)
			r.Env = append(r.Env, tt.env)
			r.run(t).wants(t, 0, "no queue holds anything", "")
		})
	}
}

func TestPassword_IsNeverShown(t *testing.T) {
	t.Parallel()
	const marker = "hunter2"
	db := made(t)
	c := db.Pool.Config().ConnConfig
	good := fmt.Sprintf("host=%s port=%d user=%s dbname=%s", c.Host, c.Port, c.User, c.Database)
	if c.Password == "" { // a server of our own trusts: any password will do
		good += " password=" + marker
	}
	for _, dsn := range []string{
		good,
		good + " options=-cwrong.setting=x,y",
		"postgres://u:" + marker + "@127.0.0.1:1/x",
		"postgres://u:" + marker + "@127.0.0.1:1/x?sslmode=perhaps",
		"postgres://u:" + marker + "@127.0.0.1:port/x",
		"postgres://u:" + marker + "/rest@127.0.0.1:1/x",
		"postgres://u:x#" + marker + "@127.0.0.1:1/x",
		"postgres://u:%zz" + marker + "@127.0.0.1:1/x",
		"postgres://127.0.0.1:1/x?password=" + marker + "&sslmode=perhaps",
		"host=127.0.0.1 port=1 password=" + marker,
		"host=127.0.0.1 port=" + marker,
		"host=127.0.0.1 port=1 password='" + marker,
		"host=127.0.0.1 port=1 sslmode=perhaps password='a " + marker + "'",
		"postgres:/u:" + marker + "@127.0.0.1:1/x",
		"u:" + marker + "@127.0.0.1:1/x",
		"postgres://u:" + marker + "@127.0.0.1:1/x?pool_max_conns=many",
		"postgres://u:" + marker + "@127.0.0.1:1/x?connect_timeout=" + marker,
		"postgres://u:" + marker + "@127.0.0.1:1/x?sslmode=verify-full&sslrootcert=/no/such/file",
	} {
		for _, args := range [][]string{{"validate"}, {"validate", "--json"}, {"publish", "q", "--lines"}, {"dlq", "replay", "--all"}} {
			for _, given := range [][]string{nil, {"--dsn", dsn}} {
				variable := dsn
				if given != nil {
					variable = ""
				}
				r := prepare(t, variable, append(args, given...)...).run(t)
				if strings.Contains(r.out+r.errs, marker) {
					t.Errorf("%s %v shows the password:\n%s%s", dsn, args, r.out, r.errs)
				}
			}
		}
	}
}

func TestCompletion_Generates(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		r := prepare(t, "", "completion", shell).run(t)
		r.wants(t, 0, "letterbox", "")
	}
	prepare(t, "", "__complete", "migrate", "print", "--tool", "").run(t).wants(t, 0, "golang-migrate\n", "")
	prepare(t, "", "__complete", "dlq", "list", "--reason", "").run(t).wants(t, 0, "decode_error\n", "")
	prepare(t, "", "__complete", "dl").run(t).wants(t, 0, "dlq\t", "")

	db := full(t)
	const none = ":4\n" // no file either
	for _, args := range [][]string{
		{"peek", ""}, {"publish", ""}, {"pause", ""}, {"timers", "cancel", ""}, {"status", "a", ""}, {"dlq", "list", "--queue", ""}, {"dlq", "replay", "--to", ""},
	} {
		letterbox(t, db, append([]string{"__complete"}, args...)...).wants(t, 0, "q\n"+none, "")
	}
	letterbox(t, db, "__complete", "peek", "q", "").wants(t, 0, none, "")
	prepare(t, "postgres://u@127.0.0.1:1/x", "__complete", "peek", "").run(t).wants(t, 0, none, "")
}
