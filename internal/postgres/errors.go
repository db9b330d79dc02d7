package postgres

import "errors"

// SQLSTATE codes, from PostgreSQL's appendix A.
const (
	undefinedTable  = "42P01"
	undefinedSchema = "3F000"
	notPermitted    = "42501"
	readOnly        = "25006"
	lockWaited      = "55P03"
)

// state is the SQLSTATE of an error: both pgx and lib/pq have the method.
func state(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// IsMissingTable reports whether a statement failed for want of its table.
func IsMissingTable(err error) bool {
	s := state(err)
	return s == undefinedTable || s == undefinedSchema
}

// IsDenied reports whether a statement failed for want of a privilege.
func IsDenied(err error) bool { return state(err) == notPermitted }

// IsReadOnly reports whether a statement failed because the server, or the
// session, takes no writes: as a rule a standby that was the primary before, or
// will be. Another connection may get to the primary.
func IsReadOnly(err error) bool { return state(err) == readOnly }

// errNoWrites is for a server that was asked, instead of written to: what only
// looks would never get the error. [IsReadOnly] knows it.
var errNoWrites error = noWrites{}

type noWrites struct{}

func (noWrites) Error() string    { return "the server takes no writes (SQLSTATE " + readOnly + ")" }
func (noWrites) SQLState() string { return readOnly }

// isLockTimeout reports whether a statement has waited for a lock as long as it may.
func isLockTimeout(err error) bool { return state(err) == lockWaited }

// IsRefusal reports whether the server itself refused a statement because of
// what it says, as opposed to a lost connection, a shutdown (class 57), a lack of
// resources (53), a conflict with others (40) or a standby.
func IsRefusal(err error) bool {
	s := state(err)
	if len(s) != 5 || s == readOnly {
		return false
	}
	switch s[:2] {
	case "08", "40", "53", "57", "58", "XX":
		return false
	}
	return true
}

// IsAborted reports whether a statement was turned away because an earlier one
// of its transaction had failed.
func IsAborted(err error) bool { return state(err) == "25P02" }
