//go:build race

package wire

// spoil overwrites memory that was given back, so that whoever still uses it fails loudly. With the race detector only, and so in all
// tests.
func spoil(buffer []byte) {
	for i := range buffer {
		buffer[i] = '!'
	}
}
