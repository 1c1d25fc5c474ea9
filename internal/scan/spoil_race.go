//go:build race

package scan

// spoil overwrites a released page, so that whoever still uses its items fails loudly. With the race detector only, and so in all
// tests.
func spoil(buffer []byte) {
	for i := range buffer {
		buffer[i] = '!'
	}
}
