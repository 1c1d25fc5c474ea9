package item

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var (
	digestGen = rapid.Custom(func(t *rapid.T) Digest {
		var d Digest
		// Bytes of 0xff are common, so that carries run far.
		b := rapid.SliceOfN(rapid.OneOf(rapid.Just(byte(0xff)), rapid.Just(byte(0)), rapid.Byte()), len(d), len(d)).Draw(t, "bytes")
		copy(d[:], b)
		return d
	})
	modulus = new(big.Int).Lsh(big.NewInt(1), 256)
)

func sumOf(digests ...Digest) Sum {
	var s Sum
	for _, d := range digests {
		s.Add(d)
	}
	return s
}

func TestSumString(t *testing.T) {
	var one, top Digest
	one[31], top[0] = 1, 0x80
	if got, want := (Sum{}).String(), strings.Repeat("0", 64); got != want {
		t.Errorf("zero Sum is %s", got)
	}
	if got, want := sumOf(one, one).String(), strings.Repeat("0", 63)+"2"; got != want {
		t.Errorf("1+1 is %s: not big-endian, or equal digests cancel", got)
	}
	if got, want := sumOf(top, one).String(), "8"+strings.Repeat("0", 62)+"1"; got != want {
		t.Errorf("2^255+1 is %s", got)
	}
	if got := sumOf(top, top); got != (Sum{}) {
		t.Errorf("2^255+2^255 is %s, want 0 modulo 2^256", got)
	}
	var s Sum
	s.Sub(one)
	if got, want := s.String(), strings.Repeat("f", 64); got != want {
		t.Errorf("0-1 is %s", got)
	}
}

func TestSumIsAdditionModulo2To256(t *testing.T) {
	lowerHex := regexp.MustCompile(`^[0-9a-f]{64}$`)
	rapid.Check(t, func(t *rapid.T) {
		digests := rapid.SliceOfN(digestGen, 0, 8).Draw(t, "digests")
		total := new(big.Int)
		for _, d := range digests {
			total.Add(total, new(big.Int).SetBytes(d[:]))
		}
		got := sumOf(digests...).String()
		if want := fmt.Sprintf("%064x", total.Mod(total, modulus)); got != want || !lowerHex.MatchString(got) {
			t.Fatalf("sum is %s, want %s", got, want)
		}
	})
}

func TestSumLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digests := rapid.SliceOfN(digestGen, 0, 8).Draw(t, "digests")
		d := digestGen.Draw(t, "one more")
		s := sumOf(digests...)
		if other := sumOf(rapid.Permutation(digests).Draw(t, "other order")...); other != s {
			t.Fatal("the order matters")
		}
		cut := rapid.IntRange(0, len(digests)).Draw(t, "cut")
		parts := sumOf(digests[:cut]...)
		parts.AddSum(sumOf(digests[cut:]...))
		if parts != s {
			t.Fatal("AddSum of two parts isn't the whole")
		}
		twice := s
		twice.Add(d)
		if (twice == s) != (d == Digest{}) {
			t.Fatal("Add of another digest changes nothing")
		}
		twice.Add(d)
		twice.Sub(d)
		twice.Sub(d)
		if twice != s {
			t.Fatal("Sub doesn't undo Add")
		}
	})
}

// Two equal additions, as from an item that was counted twice, must show.
func TestSumEqualDigestsDoNotCancel(t *testing.T) {
	d := digestOf(t, Of(everyType()))
	s := sumOf(digestOf(t, single(str("x"))))
	before := s
	s.Add(d)
	s.Add(d)
	if s == before {
		t.Error("two equal digests cancel")
	}
}
