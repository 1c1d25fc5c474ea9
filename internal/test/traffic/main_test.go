package traffic_test

import (
	"os"
	"testing"

	"reseal/internal/test/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }
