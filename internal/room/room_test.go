package room

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

const allBytes = 16 << 20

// Pages are let in while there is room for them; slow ones only into their half.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(allBytes)
		r.next.Store(allBytes / 8)
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error, 100)
		places := make(chan *Place, 100)
		enter := func(slow bool, n int) {
			for range n {
				go func() {
					p, err := r.Enter(ctx, slow)
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
		(<-places).Leave() // a slow one: the first slow one that waits comes next, behind the others that wait for the whole
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
			(<-places).Leave()
		}
		if !r.all.TryAcquire(allBytes) || !r.slow.TryAcquire(allBytes/2) {
			t.Error("room is lost")
		}
	})
}

// A place becomes as large as its page, and the next one's estimate with it; a page that takes more than there is stays.
func TestRoomHolds(t *testing.T) {
	it := item.Of(map[string]types.AttributeValue{"k": &types.AttributeValueMemberB{Value: make([]byte, 999)}})
	one := int64(itemBytes + it.WireSize())
	for _, slow := range []bool{false, true} {
		r := New(allBytes)
		free := func(all, half int64) {
			t.Helper()
			if !r.all.TryAcquire(all) || r.all.TryAcquire(1) {
				t.Errorf("slow %t: not %d bytes of the whole are free", slow, all)
			}
			if !slow {
				half = allBytes / 2
			}
			if !r.slow.TryAcquire(half) || r.slow.TryAcquire(1) {
				t.Errorf("slow %t: not %d bytes of the half are free", slow, half)
			}
			r.all.Release(all)
			r.slow.Release(half)
		}
		p, err := r.Enter(t.Context(), slow)
		if err != nil {
			t.Fatal(err)
		}
		free(allBytes-firstPage, allBytes/2-firstPage)
		p.Holds(nil)
		free(allBytes-firstPage, allBytes/2-firstPage)
		p.Holds(slices.Repeat([]item.Item{it}, 10))
		free(allBytes-10*one, allBytes/2-10*one)
		p.Holds(slices.Repeat([]item.Item{it}, 20))
		free(allBytes-20*one, allBytes/2-20*one)
		p.Holds(slices.Repeat([]item.Item{it}, 100_000)) // more than there is
		free(allBytes/2, 0)
		if r.next.Load() != 100_000*one {
			t.Errorf("the estimate is %d", r.next.Load())
		}
		p.Leave()
		q, err := r.Enter(t.Context(), slow) // though the estimate is more than the room
		if err != nil {
			t.Fatal(err)
		}
		r.next.Store(one)
		taken, err := r.Enter(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		rest := allBytes/2 - one
		if !r.all.TryAcquire(rest) {
			t.Fatal("no room is left")
		}
		taken.Holds(slices.Repeat([]item.Item{it}, 2)) // no room for the second item
		if taken.weight != one {
			t.Errorf("weight %d, want %d", taken.weight, one)
		}
		r.all.Release(rest)
		taken.Leave()
		q.Leave()
		free(allBytes, allBytes/2)
	}
}

func TestSmallPage(t *testing.T) {
	for bytes, want := range map[float64]float64{100: 4660, 170: 3554, 600: 1446, 100_000: 10} {
		if got := math.Floor(SmallPage(bytes)); got != want {
			t.Errorf("%g bytes: %g items, want %g", bytes, got, want)
		}
	}
}
