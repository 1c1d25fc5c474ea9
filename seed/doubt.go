package seed

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrLeftovers says that a seed has copied everything, but that the target may hold items that the source no longer has, or, where the
// checkpoint of an earlier seed was lost, older ones. A seed never looks for them: verify does, and repairs them.
var ErrLeftovers = errors.New("everything is copied, but the target may hold items that the source no longer has")

// doubt is a reason for ErrLeftovers. It stays in the checkpoint until a seed ends.
type doubt string

const (
	doubtDeletes doubt = "deletes" // an earlier seed copied items, and deletes since may not have been replicated
	doubtUnknown doubt = "unknown" // nothing tells which writes of an earlier seed were under way when it was killed
)

var allDoubts = []doubt{doubtDeletes, doubtUnknown}

// words tells the doubt.
func (d doubt) words() string {
	if d == doubtUnknown {
		return "the checkpoint of an earlier seed was damaged, so its writes under way are not known"
	}
	return "an earlier seed copied items whose deletes since may not have been replicated"
}

// doubt notes a reason, once.
func (c *checkpoint) doubt(one doubt) {
	if !slices.Contains(c.head.Doubts, one) {
		c.head.Doubts = append(c.head.Doubts, one)
	}
}

// doubts tells the reasons.
func (c *checkpoint) doubts() []string {
	var list []string
	for _, one := range c.head.Doubts {
		list = append(list, one.words())
	}
	return list
}

// leftovers is the error that a seed ends with which has copied everything; nil without a doubt.
func (c *checkpoint) leftovers() error {
	if len(c.head.Doubts) == 0 {
		return nil
	}
	return fmt.Errorf("%w (%s): run verify --repair", ErrLeftovers, strings.Join(c.doubts(), "; "))
}
