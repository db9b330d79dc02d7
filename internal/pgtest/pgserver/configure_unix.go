//go:build unix && !aix && !solaris

package pgserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// quick trades what survives a crash, of data that is thrown away anyway, for speed.
var quick = []parameter{
	{"fsync", "off"},
	{"synchronous_commit", "off"},
	{"full_page_writes", "off"},
	{"shared_buffers", "32MB"},
	{"max_connections", "200"}, // every parallel test has a pool or two
	// Its files are in the data directory then, and go with it. By default they are in /dev/shm, and stay there where a
	// server is killed.
	{"dynamic_shared_memory_type", "mmap"},
}

// configure appends our parameters to postgresql.conf in a server's folder. There the last of a name holds, and ALTER
// SYSTEM still works.
func configure(dir string, set settings) (err error) {
	parameters := []parameter{
		{"listen_addresses", ""},                     // no port to clash, nothing to reach from outside
		{"unix_socket_directories", `"` + dir + `"`}, // a list, in which a comma would part it
		{"port", strconv.Itoa(set.socketPort())},
		{"timezone", "UTC"},
		{"log_timezone", "UTC"},
	}
	if set.port != 0 {
		parameters = append(parameters, parameter{"listen_addresses", "127.0.0.1"})
	}
	if !set.durable {
		parameters = slices.Concat(parameters, quick)
	}
	b := bytes.NewBufferString("\n")
	for _, p := range slices.Concat(parameters, set.config) {
		fmt.Fprintf(b, "%s = '%s'\n", p.name, strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(p.value))
	}
	file, err := os.OpenFile(filepath.Join(dir, dataName, "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = b.WriteTo(file)
	return err
}
