package refuse_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"reseal/internal/refuse"
)

func TestError(t *testing.T) {
	plain := refuse.New("close it", "the door %q is %d %% open", "a", 50)
	if got, want := plain.Error(), `the door "a" is 50 % open: close it`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	caused := refuse.Because(fs.ErrNotExist, "make one (100 %)", "no file")
	if got, want := caused.Error(), "no file: make one (100 %)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !errors.Is(caused, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
}

func TestIs(t *testing.T) {
	refused := refuse.New("b", "a")
	for err, want := range map[error]bool{
		refused:                           true,
		fmt.Errorf("seed: %w", refused):   true,
		errors.Join(fs.ErrExist, refused): true,
		fs.ErrExist:                       false,
		nil:                               false,
	} {
		if got := refuse.Is(err); got != want {
			t.Errorf("Is(%v) is %t", err, got)
		}
		if got := errors.Is(err, refuse.ErrRefused); got != want {
			t.Errorf("errors.Is(%v, ErrRefused) is %t", err, got)
		}
	}
}
