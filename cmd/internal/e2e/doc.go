// Package e2e holds the tests of seed, replicate and verify together, on a table under live writes.
package e2e
