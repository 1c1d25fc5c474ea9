// Package testkit is what reseal's tests share: a local engine, tables with items in them, a comparison of two
// tables that shares no code with the one that reseal sells, a proxy that injects faults in front of an engine,
// one that refuses what a policy doesn't allow, one that plays resource-based policies, and cfn-lint and moto for stack templates.
// Only _test.go files import it.
//
// A package that uses Engine has
//
//	func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }
//
// so that the engine is stopped at the end. Helpers that take a testing.TB end the test on any failure, and
// must therefore be called from the test's own goroutine.
package testkit
