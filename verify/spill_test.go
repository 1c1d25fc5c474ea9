package verify

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"reseal/internal/item"
)

// arrival is one call of join.add.
type arrival struct {
	from   origin
	number int
	digest item.Digest
}

// arrivals are those of two tables in random order: most keys are in both and equal, some differ, some are in one only, and some
// come twice from the same table.
func arrivals(random *rand.Rand, count int) []arrival {
	var list []arrival
	for i := range count {
		digest := item.Digest{byte(i), byte(i >> 8), 1}
		one, other := arrival{fromSource, i, digest}, arrival{fromTarget, i, digest}
		switch random.IntN(20) {
		case 0:
			list = append(list, one)
		case 1:
			list = append(list, other)
		case 2:
			other.digest[2] = 2
			list = append(list, one, other)
		case 3:
			list = append(list, one, one)
		default:
			list = append(list, one, other)
		}
	}
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// outcomeOf joins the arrivals and returns what matched and the numbers of the keys that are left.
func outcomeOf(t *testing.T, j *join, list []arrival, keys []item.Key) string {
	t.Helper()
	defer j.close()
	for _, a := range list {
		if err := j.add(a.from, 1, keys[a.number], a.digest); err != nil {
			t.Fatal(err)
		}
	}
	waiting := j.waiting()
	var left []string
	for portion, err := range j.left(idSchema) {
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range portion {
			left = append(left, one.key.ID())
		}
	}
	slices.Sort(left)
	count, sum := j.matched()
	if int64(len(left)) != j.waiting() || waiting < j.waiting() {
		t.Errorf("%d keys are left, %d are said to wait, %d before the end", len(left), j.waiting(), waiting)
	}
	return fmt.Sprint(count, sum, left)
}

// Whatever the memory, the outcome is the same: all of it in memory, in files, and in files that must be divided.
func TestJoinInFiles(t *testing.T) {
	for seed := range uint64(3) {
		random := rand.New(rand.NewPCG(seed, 1))
		const count = 8000
		keys := make([]item.Key, count)
		for i := range keys {
			keys[i] = wideKey(t, i)
		}
		list := arrivals(random, count)
		want := outcomeOf(t, newJoin(1<<40, ""), list, keys)
		for _, memory := range []int64{10_000, 40_000, 500_000} {
			folder := t.TempDir()
			j := newJoin(memory, folder)
			if got := outcomeOf(t, j, list, keys); got != want {
				t.Errorf("seed %d, %d bytes: %.200s, want %.200s", seed, memory, got, want)
			}
			if j.disk == nil {
				t.Errorf("with %d bytes nothing was spilled", memory)
			}
		}
	}
}

// Many goroutines that add at the same time lose nothing on the way to the files.
func TestJoinInFilesConcurrently(t *testing.T) {
	const workers, each = 8, 2000
	j := newJoin(50_000, t.TempDir())
	keys := make([]item.Key, workers*each/2)
	for i := range keys {
		keys[i] = wideKey(t, i)
	}
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range each {
				number := (w/2*each + i) % len(keys)
				if w%2 == 1 {
					number = len(keys) - 1 - number
				}
				if err := j.add(origin(w%2), w, keys[number], item.Digest{1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for portion, err := range j.left(idSchema) {
		t.Errorf("%d keys are left, error %v", len(portion), err)
	}
	if count, _ := j.matched(); count != int64(len(keys)) {
		t.Errorf("%d matched, want %d", count, len(keys))
	}
}

// What is left comes in portions that fit, and who has enough of them gets no more.
func TestLeftInPortions(t *testing.T) {
	j := newJoin(100*memoryOf(wideKey(t, 0).ID()), t.TempDir())
	defer j.close()
	for i := range 1000 {
		if err := j.add(fromSource, i, wideKey(t, i), item.Digest{}); err != nil {
			t.Fatal(err)
		}
	}
	portions := 0
	for portion, err := range j.left(idSchema) {
		if err != nil || len(portion) > 50 {
			t.Fatalf("%d keys, error %v", len(portion), err)
		}
		if portions++; portions == 3 {
			break
		}
	}
	if portions != 3 {
		t.Errorf("%d portions", portions)
	}
}

// filled is a part with a few records, not flushed yet.
func filled(t *testing.T) *spill {
	t.Helper()
	s := newSpill(t.TempDir())
	t.Cleanup(s.close)
	for i := range 3 * spillParts {
		if err := s.write(wideKey(t, i).ID(), pending{}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func ignore(string, pending) error { return nil }

func (s *spill) any() *spillPart {
	for i := range s.parts {
		if s.parts[i].file != nil {
			return &s.parts[i]
		}
	}
	panic("nothing is spilled")
}

// A file that doesn't give back what was written is an error, never fewer items.
func TestDamagedSpill(t *testing.T) {
	for name, damage := range map[string]func(p *spillPart) error{
		"cut":         func(p *spillPart) error { return p.file.Truncate(20) },
		"empty":       func(p *spillPart) error { return p.file.Truncate(0) },
		"longer":      func(p *spillPart) error { _, err := p.file.WriteString("x"); return err },
		"other bytes": func(p *spillPart) error { _, err := p.file.WriteAt([]byte{7}, 5); return err },
		"bad flags":   func(p *spillPart) error { _, err := p.file.WriteAt([]byte{255}, 0); return err },
		"long key":    func(p *spillPart) error { _, err := p.file.WriteAt([]byte{255, 255, 255}, 33); return err },
	} {
		part := filled(t).any()
		if err := errors.Join(part.read(ignore), damage(part)); err != nil {
			t.Fatal(err)
		}
		if err := part.read(ignore); !errors.Is(err, errSpill) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// A disk that takes no more ends the comparison at each place where it is written to.
func TestFullDisk(t *testing.T) {
	full := func(t *testing.T) *os.File {
		file, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
		if err != nil {
			t.Skip("no /dev/full here:", err)
		}
		return file
	}
	t.Run("read back", func(t *testing.T) {
		part := filled(t).any()
		_ = part.file.Close()
		part.file = full(t)
		part.buffer.Reset(part.file)
		if _, err := part.buffer.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		if err := part.read(ignore); !errors.Is(err, errSpill) || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("add", func(t *testing.T) {
		j := newJoin(1, t.TempDir())
		defer j.close()
		if err := j.add(fromSource, 0, wideKey(t, 0), item.Digest{}); err != nil {
			t.Fatal(err)
		}
		for i := range j.disk.parts {
			part := &j.disk.parts[i]
			if part.file == nil {
				if err := part.open(t.TempDir()); err != nil {
					t.Fatal(err)
				}
			}
			_ = part.file.Close()
			part.file = full(t)
			part.buffer.Reset(part.file)
		}
		var err error
		for i := 1; err == nil && i < 100_000; i++ {
			err = j.add(fromSource, i, wideKey(t, i), item.Digest{})
		}
		if !errors.Is(err, errSpill) || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("error %v", err)
		}
	})
}

// Nobody else can read the files, nor find them where the system lets an open file go without a name.
func TestSpillIsPrivate(t *testing.T) {
	folder := t.TempDir()
	s := newSpill(folder)
	defer s.close()
	if err := s.write("S\x01a", pending{}); err != nil {
		t.Fatal(err)
	}
	for _, part := range s.parts {
		if part.file == nil {
			continue
		}
		info, err := part.file.Stat()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		if left, err := os.ReadDir(folder); err != nil || !part.named && len(left) > 0 {
			t.Errorf("the folder holds %v, %v", left, err)
		}
		return
	}
	t.Error("nothing was written")
}
