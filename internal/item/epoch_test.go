package item

import "testing"

func TestEpochSeconds(t *testing.T) {
	for _, c := range []struct {
		value value
		want  int64
		is    bool
	}{
		{num("1700000000"), 1700000000, true},
		{num("1.7E+9"), 1700000000, true},
		{num("1700000000.9"), 1700000000, true},
		{num("0"), 0, true},
		{num("-5"), -5, true},
		{num("1E+12"), 1e12, true},
		{num("1E+13"), 0, false},
		{num("1E+125"), 0, false},
		{num("-9.9999999999999999999999999999999999999E+125"), 0, false},
		{num("no number"), 0, false},
		{str("1700000000"), 0, false},
		{null(), 0, false},
		{numSet("1700000000"), 0, false},
	} {
		got, is := single(c.value).EpochSeconds("a")
		if is != c.is || is && got.Unix() != c.want {
			t.Errorf("%v: %v, %t", c.value, got, is)
		}
	}
	if got, is := (Item{}).EpochSeconds("a"); is {
		t.Errorf("no item: %v", got)
	}
	if got, is := single(num("1")).EpochSeconds("b"); is {
		t.Errorf("no attribute: %v", got)
	}
}
