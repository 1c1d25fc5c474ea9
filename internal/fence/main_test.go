package fence

import (
	"os"
	"testing"
	"time"

	"reseal/internal/test/testkit"
)

// TestMain has the machine be in another time zone: what is written must not depend on it.
func TestMain(m *testing.M) {
	time.Local = time.FixedZone("test", 5*3600)
	os.Exit(testkit.Main(m))
}
