// Package scan reads one page of one segment of a parallel Scan.
package scan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/wire"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// MaxSegments is the largest TotalSegments that DynamoDB takes (API reference, Scan).
const MaxSegments = 1_000_000

// API is the DynamoDB call that this package makes.
type API interface {
	Scan(context.Context, *dynamodb.ScanInput, ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error)
}

// Scanner reads pages of one table, eventually consistent unless Consistent says otherwise: half the price, and whoever uses the pages
// checks what it concludes from them by consistent reads. It is safe for concurrent use.
type Scanner struct {
	API     API
	Table   string
	Schema  item.Schema
	Limiter *capacity.Limiter
	Policy  call.Policy

	Consistent bool // read with ConsistentRead, at twice the price

	// MaxItems is the most items of a given average size, in bytes, that a page should have; nil: as many as there are in 1 MB.
	MaxItems func(bytes float64) float64

	itemUnits atomic.Uint64 // float64 bits: what an item of the last page cost, the best guess for the next one
	items     atomic.Int64  // how many the last page had, likewise
	operation wire.Operation
}

// Page is one answer of a Scan.
type Page struct {
	Items []item.Item
	Keys  []item.Key // of the items; those that are kept for longer than the page should be clones
	Next  *item.Key  // where the next page starts; nil: the segment is read to its end

	buffer []byte
	broken error // what is wrong with it
}

// buffers are the memory of pages that were released. 1 MB of items is less than 4 MB in JSON, nearly always.
var buffers = wire.Pool{Most: 4 << 20}

// Release gives the memory of the page's items to a later page. They, and what else shares memory with them, must not be used any
// more; the keys may.
func (p *Page) Release() {
	buffers.Put(p.buffer)
	p.Items, p.buffer = nil, nil
}

// Page reads the page of the segment that starts after the given key (nil: from the segment's start).
func (s *Scanner) Page(ctx context.Context, segment, segments int, after *item.Key) (Page, error) {
	in := &dynamodb.ScanInput{
		TableName:              &s.Table,
		Segment:                aws.Int32(int32(segment)),
		TotalSegments:          aws.Int32(int32(segments)),
		ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	}
	if s.Consistent {
		in.ConsistentRead = aws.Bool(true)
	}
	if after != nil {
		in.ExclusiveStartKey = after.Attributes()
	}
	estimate, limit := s.size()
	in.Limit = limit
	var page Page
	largest := 0.0
	err := s.Limiter.Read(ctx, s.Policy, estimate, func(ctx context.Context) (capacity.Consumed, error) {
		var consumed capacity.Consumed
		var err error
		if page, consumed, err = s.request(ctx, in); err != nil {
			return capacity.Consumed{}, call.Private(err)
		}
		for _, it := range page.Items {
			largest = max(largest, it.ReadUnits())
		}
		s.Limiter.Saw(largest)
		if n := len(page.Items); n > 0 && consumed.Units > 0 {
			s.itemUnits.Store(math.Float64bits(consumed.Units / float64(n)))
		}
		return consumed, nil
	})
	if err == nil {
		err = page.broken
	}
	if err == nil && page.Next != nil && after != nil && *page.Next == *after {
		err = errors.New("the answer's LastEvaluatedKey is where the page started: the scan would never end")
	}
	if err != nil {
		page.Release()
		return Page{}, fmt.Errorf("scan segment %d of %d: %w", segment, segments, err)
	}
	return page, nil
}

const (
	pageUnits = 128 // the most that a page of 1 MB costs, eventually consistent
	unitBytes = 8192
	firstPage = 10 // items of the first page under a limit, when nothing is known of their size
)

// price is how much more a page costs than an eventually consistent one (DynamoDB developer guide, "DynamoDB read and write operations").
func (s *Scanner) price() float64 {
	if s.Consistent {
		return 2
	}
	return 1
}

// size returns the units that the next page is likely to take, and the number of items to ask for so that it takes no more of
// the budget than one request should, and holds no more than MaxItems; nil for as many as a page holds.
func (s *Scanner) size() (estimate float64, limit *int32) {
	most, pageUnits := s.Limiter.PageUnits(), pageUnits*s.price()
	perItem := math.Float64frombits(s.itemUnits.Load())
	switch {
	case perItem == 0 && most < pageUnits:
		return s.price(), aws.Int32(firstPage)
	case perItem == 0:
		return s.price(), nil
	}
	items := max(1, math.Floor(most/perItem))
	if s.MaxItems != nil {
		items = min(items, max(1, math.Floor(s.MaxItems(perItem*unitBytes/s.price()))))
	}
	if items*perItem >= pageUnits {
		return pageUnits, nil
	}
	return items * perItem, aws.Int32(int32(min(items, math.MaxInt32)))
}
