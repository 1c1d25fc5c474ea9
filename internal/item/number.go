package item

import (
	"errors"
	"strconv"
)

const (
	// maxPlainDigits is how long a canonical number may get before it is
	// written with an exponent. DynamoDB keeps 38 significant digits, so a
	// plain number up to this length is surely accepted.
	maxPlainDigits = 38

	// maxExponent bounds the exponent as written. DynamoDB's own range is
	// 1E-130 to 9.9999999999999999999999999999999999999E+125; the bound only
	// keeps the arithmetic on exponents sane.
	maxExponent = 9999
)

// errNumber doesn't say which text was refused: it may be somebody's data.
var errNumber = errors.New("malformed number")

// canonicalNumber returns the one spelling that all spellings of the same
// number share: 1, 1.0, 01, +1 and 1E0 give "1"; -0 gives "0". Every digit is
// kept. The result is itself a number that DynamoDB accepts: plain decimal up
// to maxPlainDigits digits, otherwise digits "E" exponent, where the digits
// have no trailing zero ("1E125").
func canonicalNumber(s string) (string, error) {
	if isCanonicalInteger(s) {
		return s, nil
	}
	number, err := appendNumber(nil, s)
	return string(number), err
}

// appendNumber appends the canonicalNumber of s to dst.
func appendNumber[T text](dst []byte, s T) ([]byte, error) {
	if isCanonicalInteger(s) {
		return append(dst, s...), nil
	}
	var scratch [64]byte
	n, err := parseNumber(scratch[:0], s)
	if err != nil {
		return nil, err
	}
	return n.append(dst), nil
}

type text interface{ string | []byte }

// isCanonicalInteger is the fast path: most numbers in tables are integers as
// DynamoDB returns them, and are canonical already.
func isCanonicalInteger[T text](s T) bool {
	digits := s
	if isNegative(s) {
		digits = s[1:]
	}
	if len(digits) == 0 || len(digits) > maxPlainDigits {
		return false
	}
	if digits[0] == '0' {
		return len(s) == 1
	}
	return countDigits(digits) == len(digits)
}

func isNegative[T text](s T) bool { return len(s) > 0 && s[0] == '-' }

// isSigned tells whether s begins with a sign.
func isSigned[T text](s T) bool { return len(s) > 0 && (s[0] == '-' || s[0] == '+') }

// decimal is the number (-1)^neg * digits * 10^exp. The digits have neither
// leading nor trailing zeros; no digits mean zero, whatever neg and exp are.
type decimal struct {
	neg    bool
	digits []byte
	exp    int
}

// parseNumber reads a number: sign, digits with at most one point, exponent.
// The digits are appended to dst. The grammar is DynamoDB's (Java's
// BigDecimal): no spaces, no hexadecimal, no NaN or infinity.
func parseNumber[T text](dst []byte, s T) (decimal, error) {
	n := decimal{neg: isNegative(s)}
	if isSigned(s) {
		s = s[1:]
	}
	whole := s[:countDigits(s)]
	s = s[len(whole):]
	var fraction T
	if len(s) > 0 && s[0] == '.' {
		fraction = s[1 : 1+countDigits(s[1:])]
		s = s[1+len(fraction):]
	}
	if len(whole)+len(fraction) == 0 {
		return decimal{}, errNumber
	}
	exp, err := parseExponent(s)
	if err != nil {
		return decimal{}, err
	}
	dst = append(append(dst, whole...), fraction...)
	n.exp = exp - len(fraction)
	n.digits = dst
	n.trim()
	if len(n.digits) > 0 && (n.exp > maxExponent || n.exp < -maxExponent) {
		return decimal{}, errNumber // its canonical spelling would be no number any more
	}
	return n, nil
}

// parseExponent reads what follows the digits: nothing, or e or E, a sign if
// wanted, and at least one digit.
func parseExponent[T text](s T) (int, error) {
	if len(s) == 0 {
		return 0, nil
	}
	if s[0] != 'e' && s[0] != 'E' {
		return 0, errNumber
	}
	s = s[1:]
	negative := isNegative(s)
	if isSigned(s) {
		s = s[1:]
	}
	if len(s) == 0 || countDigits(s) != len(s) {
		return 0, errNumber
	}
	exp := 0
	for i := range len(s) {
		exp = exp*10 + int(s[i]-'0')
		if exp > maxExponent {
			return 0, errNumber
		}
	}
	if negative {
		exp = -exp
	}
	return exp, nil
}

// trim brings n to the form that decimal promises.
func (n *decimal) trim() {
	for len(n.digits) > 0 && n.digits[0] == '0' {
		n.digits = n.digits[1:]
	}
	for len(n.digits) > 0 && n.digits[len(n.digits)-1] == '0' {
		n.digits = n.digits[:len(n.digits)-1]
		n.exp++
	}
}

// append appends the canonical spelling; see canonicalNumber.
func (n decimal) append(out []byte) []byte {
	if len(n.digits) == 0 {
		return append(out, '0')
	}
	if n.neg {
		out = append(out, '-')
	}
	point := len(n.digits) + n.exp // digits before the decimal point
	switch {
	case n.exp >= 0 && point <= maxPlainDigits:
		out = append(out, n.digits...)
		out = appendZeros(out, n.exp)
	case n.exp < 0 && point > 0:
		out = append(out, n.digits[:point]...)
		out = append(out, '.')
		out = append(out, n.digits[point:]...)
	case n.exp < 0 && -n.exp <= maxPlainDigits:
		out = append(out, '0', '.')
		out = appendZeros(out, -point)
		out = append(out, n.digits...)
	default:
		out = append(out, n.digits...)
		out = append(out, 'E')
		out = strconv.AppendInt(out, int64(n.exp), 10)
	}
	return out
}

func appendZeros(dst []byte, count int) []byte {
	for range count {
		dst = append(dst, '0')
	}
	return dst
}

// countDigits returns how many ASCII digits s starts with.
func countDigits[T text](s T) int {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}
