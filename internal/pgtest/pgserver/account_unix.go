//go:build unix && !aix && !solaris

package pgserver

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that a process of ours runs as.
type account struct {
	name     string
	uid, gid int
	other    bool // not the user that we run as
}

// ourselves is the user we run as.
func ourselves() account { return account{name: "us", uid: os.Geteuid(), gid: os.Getegid()} }

// serverAccount is the user to run the server as: ourselves, or postgres, else nobody, where we are root, because
// PostgreSQL refuses to run as root.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return ourselves(), nil
	}
	var errs []error
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		// darwin's nobody is -2
		uid, err1 := strconv.ParseInt(u.Uid, 10, 64)
		gid, err2 := strconv.ParseInt(u.Gid, 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			errs = append(errs, fmt.Errorf("user %s: %w", name, err))
			continue
		}
		return account{name: name, uid: int(uint32(uid)), gid: int(uint32(gid)), other: true}, nil
	}
	return account{}, fmt.Errorf("PostgreSQL refuses to run as root, and there is no other user for it: %w", errors.Join(errs...))
}

// credential is what makes a child process run as the account.
func (a account) credential() *syscall.Credential {
	if !a.other {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
}

// own hands path to the account.
func (a account) own(path string) error {
	if !a.other {
		return nil
	}
	return a.explain(os.Lchown(path, a.uid, a.gid))
}

// errNoChange comes where root lacks the right to act for another user, as in some containers.
var errNoChange = errors.New("PostgreSQL refuses to run as root, and we may not change to another user: " +
	"set DATABASE_URL, or run as another user")

func (a account) explain(err error) error {
	if a.other && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL)) {
		return fmt.Errorf("%w (%s: %w)", errNoChange, a.name, err)
	}
	return err
}

// reaches checks that the account can enter dir from the root.
func (a account) reaches(dir string) error {
	if !a.other {
		return nil // what fails then says so itself
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode()&0o001 == 0 && !a.owns(info) {
			return fmt.Errorf("user %s can't enter %s", a.name, dir)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return nil
		}
		dir = parent
	}
}

// owns says whether a file is the account's.
func (a account) owns(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == a.uid
}
