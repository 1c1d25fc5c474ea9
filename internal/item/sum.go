package item

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// Sum is an order-independent fingerprint of many items: the sum of their
// digests modulo 2^256, big-endian. Unlike XOR, equal digests don't cancel.
// The zero Sum is that of no items. It isn't safe for concurrent use; give each
// goroutine its own and join them with AddSum.
type Sum [32]byte

// Add adds an item's digest.
func (s *Sum) Add(d Digest) {
	s.AddSum(Sum(d))
}

// Sub takes back one Add of the same digest.
func (s *Sum) Sub(d Digest) {
	var borrow uint64
	for i := len(s) - 8; i >= 0; i -= 8 {
		var word uint64
		word, borrow = bits.Sub64(binary.BigEndian.Uint64(s[i:]), binary.BigEndian.Uint64(d[i:]), borrow)
		binary.BigEndian.PutUint64(s[i:], word)
	}
}

// AddSum adds the fingerprint of other items.
func (s *Sum) AddSum(o Sum) {
	var carry uint64
	for i := len(s) - 8; i >= 0; i -= 8 {
		var word uint64
		word, carry = bits.Add64(binary.BigEndian.Uint64(s[i:]), binary.BigEndian.Uint64(o[i:]), carry)
		binary.BigEndian.PutUint64(s[i:], word)
	}
}

// Plus returns the fingerprint of the items of both.
func (s Sum) Plus(o Sum) Sum {
	s.AddSum(o)
	return s
}

// String returns 64 lower-case hexadecimal digits.
func (s Sum) String() string {
	return hex.EncodeToString(s[:])
}
