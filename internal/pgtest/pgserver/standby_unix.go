//go:build unix && !aix && !solaris

package pgserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// copyTo puts a copy of the server's data directory into the folder f, for a standby that follows it. The account is the
// same for all, so the socket is within its reach.
func (s *Server) copyTo(ctx context.Context, in installation, f *folder) error {
	const tool = "pg_basebackup"
	if !executable(filepath.Join(in.bin, tool)) {
		return fmt.Errorf("%w in %s", ErrNoBaseBackup, in.bin)
	}
	c, err := pgx.ParseConfig(s.dsn)
	if err != nil {
		return err
	}
	flags := []string{
		"--host=" + c.Host, "--port=" + strconv.Itoa(int(c.Port)), "--username=" + c.User, "--no-password",
		"--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync",
	}
	return makeData(ctx, filepath.Dir(f.path), f.who, in, tool, flags,
		func(data string) error { return os.Rename(data, filepath.Join(f.path, dataName)) })
}
