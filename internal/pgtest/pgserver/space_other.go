//go:build unix && !aix && !solaris && !linux

package pgserver

// space is the room below dir, and whether it is in memory: not asked for where /dev/shm does not exist.
func space(string) (free uint64, memory bool, err error) { return 0, false, nil }
