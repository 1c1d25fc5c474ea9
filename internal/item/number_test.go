package item

import (
	"errors"
	"strings"
	"testing"

	"reseal/internal/item/itemtest"

	"pgregory.net/rapid"
)

func TestCanonicalNumber(t *testing.T) {
	nines := strings.Repeat("9", 38)
	tests := []struct {
		want      string
		spellings []string
	}{
		{"0", numbers("0", "-0", "+0", "00", "0.0", ".0", "0.", "0E5", "-0e-7", "0.000E+9999")},
		{"1", numbers("1", "1.0", "01", "+1", "1E0", "1e+0", "1e-0", "10E-1", "0.1e1", "1.", "1E0000000")},
		{"-1", numbers("-1", "-1.0", "-01", "-1E0", "-10e-1")},
		{"100", numbers("100", "1E2", "1e+2", "100.00", "0100", "0.1E3", "1E0000002")},
		{"0.001", numbers("0.001", "0.00100", "1E-3", ".001", "100E-5", "00.001")},
		{"12.5", numbers("12.5", "12.50", "125E-1", "1.25e1", "+012.5")},
		{"-0.5", numbers("-0.5", "-.5", "-5E-1", "-0.50")},
		{nines, numbers(nines, nines+".0", "9."+nines[1:]+"E37", "0."+nines+"e38", "0"+nines)},
		{"1" + strings.Repeat("0", 37), numbers("1E37", "1"+strings.Repeat("0", 37))},
		{"1E38", numbers("1E38", "1e+38", "1"+strings.Repeat("0", 38), "10E37")},
		{"1E125", numbers("1E125", "1"+strings.Repeat("0", 125), "0.1E126")},
		{"0." + strings.Repeat("0", 37) + "1", numbers("1E-38", "0."+strings.Repeat("0", 37)+"1")},
		{"1E-39", numbers("1E-39", "0."+strings.Repeat("0", 38)+"1", "0.1e-38")},
		{"1E-130", numbers("1E-130", "1e-130", "10E-131", "0."+strings.Repeat("0", 129)+"1")},
		{"-1E-130", numbers("-1E-130", "-0.1E-129")},
		{"999E123", numbers("9.99E125", "999e+123", "999"+strings.Repeat("0", 123))},
		{nines + "E88", numbers("9."+nines[1:]+"E+125", nines+strings.Repeat("0", 88))},
		{"-" + nines + "E88", numbers("-9." + nines[1:] + "E125")},
		{"9007199254740993", numbers("9007199254740993", "9007199254740993.0", "9.007199254740993E15")},
	}
	for _, test := range tests {
		for _, spelling := range test.spellings {
			if got, err := canonicalNumber(spelling); err != nil || got != test.want {
				t.Errorf("canonicalNumber(%q) = %q, %v; want %q", spelling, got, err, test.want)
			}
		}
	}
}

func TestCanonicalNumberKeepsLastDigit(t *testing.T) {
	head := "1234567890123456789012345678901234567"
	seen := map[string]string{}
	for _, tail := range "0123456789" {
		for _, exponent := range numbers("", "E-60", "E60") {
			spelling := head + string(tail) + exponent
			got, err := canonicalNumber(spelling)
			if err != nil {
				t.Fatal(err)
			}
			if other, dup := seen[got]; dup {
				t.Errorf("%s and %s are both %s", other, spelling, got)
			}
			seen[got] = spelling
		}
	}
}

func TestCanonicalNumberRefuses(t *testing.T) {
	malformed := numbers("", "-", "+", ".", "-.", "e", "E5", ".E5", "1e", "1e+", "1E-", "1e1.5", "1e1e1", "1ee1",
		"NaN", "nan", "Inf", "Infinity", "-Infinity", "1.2.3", "1..2", "0x1", "0b1", "1_000", "1,5", " 1", "1 ", "1\n",
		"--1", "+-1", "-+1", "1-", "1+1", "a", "1a", "١", "１", "1\x00",
		"1E10000", "1E-10000", "0E10000", "10E9999", "0.1E-9999", "1E99999999999999999999999999")
	for _, s := range malformed {
		if got, err := canonicalNumber(s); !errors.Is(err, errNumber) {
			t.Errorf("canonicalNumber(%q) = %q, %v; want errNumber", s, got, err)
		}
	}
}

// The canonical spelling is the same number, is its own canonical spelling, and
// is shared with another number exactly if the two are equal as rationals.
func TestCanonicalNumberProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := itemtest.Number.Draw(t, "a")
		b := rapid.OneOf(itemtest.Number, rapid.Just(itemtest.Respell(t, a))).Draw(t, "b")
		ca, cb := canonical(t, a), canonical(t, b)
		if itemtest.Rational(ca) != itemtest.Rational(a) {
			t.Fatalf("%s became another number: %s", a, ca)
		}
		if again := canonical(t, ca); again != ca {
			t.Fatalf("%s is not stable: %s", ca, again)
		}
		if (ca == cb) != (itemtest.Rational(a) == itemtest.Rational(b)) {
			t.Fatalf("%s -> %s, %s -> %s", a, ca, b, cb)
		}
	})
}

func canonical(t tb, s string) string {
	t.Helper()
	c, err := canonicalNumber(s)
	if err != nil {
		t.Fatalf("canonicalNumber(%q): %v", s, err)
	}
	return c
}
