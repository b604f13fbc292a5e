package ironic

import "strconv"

// Version is the minor number of a microversion; the major is always 1.
type Version int

// The versions served. Max is honest: the highest whose every visible change is
// served.
const (
	MinVersion Version = 1
	MaxVersion Version = 115
)

func (v Version) String() string { return "1." + strconv.Itoa(int(v)) }
