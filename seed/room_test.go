package seed

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"

	"reseal/internal/item"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Pages are let in while there is room for them; slow ones only into their half.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom()
		r.next.Store(roomBytes / 8)
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error, 100)
		places := make(chan *place, 100)
		enter := func(slow bool, n int) {
			for range n {
				go func() {
					p, err := r.enter(ctx, slow)
					if err == nil {
						places <- p
					}
					results <- err
				}()
			}
			synctest.Wait()
		}
		enter(true, 6) // four of them fit into the half
		if len(places) != 4 {
			t.Errorf("%d slow pages are in, want 4", len(places))
		}
		enter(false, 6)
		if len(places) != 8 {
			t.Errorf("%d pages are in, want 8", len(places))
		}
		(<-places).leave() // a slow one: the first slow one that waits comes next, behind the others that wait for the whole
		synctest.Wait()
		if len(places) != 8 {
			t.Errorf("%d pages are in after one left, want 8", len(places))
		}
		cancel()
		synctest.Wait()
		stopped := 0
		for len(results) > 0 {
			if errors.Is(<-results, context.Canceled) {
				stopped++
			}
		}
		if stopped != 3 {
			t.Errorf("%d are turned away, want 3", stopped)
		}
		for len(places) > 0 {
			(<-places).leave()
		}
		if !r.all.TryAcquire(roomBytes) || !r.slow.TryAcquire(roomBytes/2) {
			t.Error("room is lost")
		}
	})
}

// A place becomes as large as its page, and the next one's estimate with it; a page that takes more than there is stays.
func TestRoomHolds(t *testing.T) {
	it := item.Of(map[string]types.AttributeValue{"k": &types.AttributeValueMemberB{Value: make([]byte, 999)}})
	const one = itemBytes + bytesPerByte*1000
	for _, slow := range []bool{false, true} {
		r := newRoom()
		free := func(all, half int64) {
			t.Helper()
			if !r.all.TryAcquire(all) || r.all.TryAcquire(1) {
				t.Errorf("slow %t: not %d bytes of the whole are free", slow, all)
			}
			if !slow {
				half = roomBytes / 2
			}
			if !r.slow.TryAcquire(half) || r.slow.TryAcquire(1) {
				t.Errorf("slow %t: not %d bytes of the half are free", slow, half)
			}
			r.all.Release(all)
			r.slow.Release(half)
		}
		p, err := r.enter(t.Context(), slow)
		if err != nil {
			t.Fatal(err)
		}
		free(roomBytes-firstPageBytes, roomBytes/2-firstPageBytes)
		p.holds(nil)
		free(roomBytes-firstPageBytes, roomBytes/2-firstPageBytes)
		p.holds(slices.Repeat([]item.Item{it}, 10))
		free(roomBytes-10*one, roomBytes/2-10*one)
		p.holds(slices.Repeat([]item.Item{it}, 20))
		free(roomBytes-20*one, roomBytes/2-20*one)
		p.holds(slices.Repeat([]item.Item{it}, 100_000))
		free(roomBytes/2, 0)
		if r.next.Load() != 100_000*one {
			t.Errorf("the estimate is %d", r.next.Load())
		}
		p.leave()
		q, err := r.enter(t.Context(), slow) // though the estimate is more than the room
		if err != nil {
			t.Fatal(err)
		}
		r.next.Store(one)
		taken, err := r.enter(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		rest := roomBytes/2 - int64(one)
		if !r.all.TryAcquire(rest) {
			t.Fatal("no room is left")
		}
		taken.holds(slices.Repeat([]item.Item{it}, 2)) // no room for the second item
		if taken.weight != one {
			t.Errorf("weight %d, want %d", taken.weight, one)
		}
		r.all.Release(rest)
		taken.leave()
		q.leave()
		free(roomBytes, roomBytes/2)
	}
}

func TestPageItems(t *testing.T) {
	for bytes, want := range map[float64]float64{100: 4587, 170: 2723, 600: 1747, 100_000: 20} {
		if got := math.Floor(pageItems(bytes)); got != want {
			t.Errorf("%g bytes: %g items, want %g", bytes, got, want)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, n := range []int{1, 2, 3, 16, 17, 1000, 1_000_000} {
		list := slices.Collect(spread(n))
		for i := 0; n >= 1000 && i+32 <= n; i += 32 {
			parts := map[int]bool{}
			for _, number := range list[i : i+32] {
				parts[number*8/n] = true
			}
			if len(parts) != 8 {
				t.Fatalf("of %d segments, the 32 from the %dth are in %d of 8 parts", n, i, len(parts))
			}
		}
		slices.Sort(list)
		for i, number := range list {
			if i != number {
				t.Fatalf("of %d segments, %d is missing", n, i)
			}
		}
		if len(list) != n {
			t.Errorf("%d segments of %d", len(list), n)
		}
	}
}
