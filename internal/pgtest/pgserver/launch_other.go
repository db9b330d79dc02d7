//go:build !unix || aix || solaris

package pgserver

import (
	"context"
	"errors"
)

// launch would start a server of our own, which needs a Unix system with sockets and file locks as we use them.
func launch(context.Context, machine, settings) (*Server, error) {
	return nil, errors.New("no server of our own on this system: set DATABASE_URL")
}
