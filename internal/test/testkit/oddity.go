package testkit

import (
	"slices"
	"testing"
)

// Oddity is something that an engine does in another way than DynamoDB, so that a test of it would tell nothing there.
type Oddity string

// The oddities. Each says what the engine does.
const (
	// A Scan takes half a unit whatever it reads, and BatchGetItem none.
	ReadUnitsBySize Oddity = "it doesn't count the units of reads by size"
	// DynamoDB takes 1000 and 1E3 for one key.
	NumberKeysBySpelling Oddity = "it takes two spellings of a number for two keys"
	// DynamoDB refuses a request over 16 MB with the status 413.
	LargeRequests Oddity = "it takes requests over 16 MB"
	// Some hundred requests a second, from all clients. Tests whose application, or whose throttling, goes by the clock need more.
	Slow Oddity = "it is too slow for what this test does in a second"
	// What can't be asked is "not checked", which is another answer than any that the engine gives.
	NoBackups Oddity = "it doesn't know DescribeContinuousBackups"
	// DynamoDB takes one key for all tables of an account, if none is given.
	KeyPerTable Oddity = "it makes a KMS key for each table"
)

// oddities are those of each engine, as the tests that ask for them have found them.
var oddities = map[string][]Oddity{
	Dynoxide:  {NoBackups, KeyPerTable},
	MiniStack: {ReadUnitsBySize, NumberKeysBySpelling, LargeRequests, Slow},
}

// Has tells whether the engine of these tests has the oddity.
func Has(o Oddity) bool { return slices.Contains(oddities[EngineName()], o) }

// SkipIf skips the test on an engine with the oddity.
func SkipIf(t testing.TB, o Oddity) {
	t.Helper()
	if Has(o) {
		t.Skipf("%s: %s", EngineName(), o)
	}
}
