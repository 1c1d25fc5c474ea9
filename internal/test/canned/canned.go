// Package canned is a DynamoDB with two tables, "source" and "target", and no data: their items, the same in both, are made up
// whenever they are read, and what is written is forgotten. It costs so little that a client's own time and memory can be measured,
// with many millions of items. Every item has seven attributes; the key k (S) is its number. The source has a stream with one shard,
// closed, in which every item was written once.
package canned

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Server answers requests. Set its fields before the first one.
type Server struct {
	Items     int           // of each table
	Size      int           // of an item in bytes, as DynamoDB counts it, LeastSize at the least; 0: DefaultSize
	Reversed  bool          // Scans of the target return the last items first
	Scattered bool          // each segment of the target holds other keys than the source's, from all over the table
	Latency   time.Duration // of each request
}

// The sizes of items, in bytes.
const (
	LeastSize   = 100
	DefaultSize = 190
)

// Amazon's largest page, in bytes.
const pageBytes = 1 << 20

func (s *Server) size() int {
	if s.Size == 0 {
		return DefaultSize
	}
	return max(s.Size, LeastSize)
}

// key is a key in a request.
type key struct{ K struct{ S string } }

// request is what is read of any request.
type request struct {
	TableName              string
	Segment, TotalSegments int
	Limit                  int
	ExclusiveStartKey      *key
	RequestItems           map[string]json.RawMessage
	ShardIterator          string
}

// ServeHTTP answers one request. What it doesn't know is a ValidationException.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if s.Latency > 0 {
		timer := time.NewTimer(s.Latency)
		defer timer.Stop()
		select {
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		case <-timer.C:
		}
	}
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	answer, err := s.answer(op, body)
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer = fmt.Appendf(nil, `{"__type":"com.amazonaws.dynamodb.v20120810#ValidationException","message":%q}`, err)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	w.Header().Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(answer)), 10)) // as DynamoDB does
	_, _ = w.Write(answer)                                                                    // a client that is gone doesn't want it
}

func readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength < 0 {
		return io.ReadAll(r.Body)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

func (s *Server) answer(op string, body []byte) ([]byte, error) {
	var in request
	if op != "BatchWriteItem" { // it is the largest, and nothing in it matters
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
	}
	switch op {
	case "DescribeTable":
		return s.describe(in.TableName), nil
	case "Scan":
		return s.scan(in)
	case "BatchGetItem":
		return s.get(in)
	case "BatchWriteItem":
		return fmt.Appendf(nil, `{"UnprocessedItems":{},"ConsumedCapacity":[{"TableName":"target","CapacityUnits":%d}]}`,
			bytes.Count(body, []byte(`"PutRequest"`))*units(s.size(), 1024)), nil
	case "DescribeStream":
		return s.describeStream(), nil
	case "GetShardIterator":
		return []byte(`{"ShardIterator":"0"}`), nil
	case "GetRecords":
		return s.records(in)
	}
	return nil, fmt.Errorf("operation %q is not canned", op)
}

// units is the number of units of so many bytes that a size takes.
func units(size, each int) int { return (size + each - 1) / each }

const streamARN = "arn:aws:dynamodb:us-east-1:000000000000:table/source/stream/1"

func (s *Server) describe(name string) []byte {
	more := `,"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"},"LatestStreamArn":"` + streamARN + `"`
	if name == "target" {
		more = `,"SSEDescription":{"Status":"ENABLED","SSEType":"KMS"}`
	}
	return fmt.Appendf(nil, `{"Table":{"TableName":%q,"TableArn":"arn:aws:dynamodb:us-east-1:000000000000:table/%s","TableStatus":"ACTIVE","CreationDateTime":%d,
"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],
"BillingModeSummary":{"BillingMode":"PAY_PER_REQUEST"},"WarmThroughput":{"ReadUnitsPerSecond":10000000,"WriteUnitsPerSecond":10000000},
"ItemCount":%d,"TableSizeBytes":%d%s}}`, name, name, 1_700_000_000, s.Items, s.Items*s.size(), more)
}

var filler = bytes.Repeat([]byte("Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam. "), 400<<10/67)

// rest is what an item's attributes have beside the filler, in bytes.
const rest = LeastSize - 22

// appendItem appends the item of a number as DynamoDB JSON.
func (s *Server) appendItem(dst []byte, number int) []byte {
	dst = append(dst, `{"k":{"S":"`...)
	dst = appendNumber(dst, number)
	dst = append(dst, `"},"name":{"S":"Sant Julià"},"country":{"S":"AD"},"count":{"N":"`...)
	dst = strconv.AppendInt(dst, int64(number%10_000), 10)
	dst = append(dst, `"},"latitude":{"N":"42.46372"},"tags":{"SS":["capital","border"]},"notes":{"S":"`...)
	dst = append(dst, filler[:s.size()-rest]...)
	return append(dst, `"}}`...)
}

// appendNumber appends ten digits.
func appendNumber(dst []byte, number int) []byte {
	var digits [10]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + number%10)
		number /= 10
	}
	return append(dst, digits[:]...)
}

// scan answers with the items at the positions of the segment; the number of the item at a position depends on the order.
func (s *Server) scan(in request) ([]byte, error) {
	number, position := s.order(in.TableName)
	total := max(1, in.TotalSegments) // a Scan of one segment may leave it out
	start := in.Segment * s.Items / total
	end := (in.Segment + 1) * s.Items / total
	if in.ExclusiveStartKey != nil {
		after, err := strconv.Atoi(in.ExclusiveStartKey.K.S)
		if err != nil {
			return nil, err
		}
		start = position(after) + 1
	}
	count := min(end-start, max(1, pageBytes/s.size()))
	if in.Limit > 0 {
		count = min(count, in.Limit)
	}
	body := make([]byte, 0, count*(s.size()+150)+500)
	body = fmt.Appendf(body, `{"Count":%d,"ScannedCount":%d,"ConsumedCapacity":{"TableName":%q,"CapacityUnits":%g}`,
		count, count, in.TableName, max(0.5, math.Ceil(float64(count*s.size())/4096)/2))
	if start+count < end {
		body = append(body, `,"LastEvaluatedKey":{"k":{"S":"`...)
		body = append(appendNumber(body, number(start+count-1)), `"}}`...)
	}
	body = append(body, `,"Items":[`...)
	for i := range count {
		if i > 0 {
			body = append(body, ',')
		}
		body = s.appendItem(body, number(start+i))
	}
	return append(body, `]}`...), nil
}

// scatter is a prime. Multiplied by it, modulo a number of items that it doesn't divide, positions go round all of them.
const scatter = 1_000_003

// order returns what item is at a position of a table's Scan, and the inverse.
func (s *Server) order(table string) (number, position func(int) int) {
	same := func(i int) int { return i }
	switch {
	case table != "target":
		return same, same
	case s.Reversed:
		reversed := func(i int) int { return s.Items - 1 - i }
		return reversed, reversed
	case s.Scattered:
		items := big.NewInt(int64(s.Items))
		back := new(big.Int).ModInverse(big.NewInt(scatter), items).Int64()
		times := func(by int64) func(int) int {
			return func(i int) int { return int(int64(i) * by % int64(s.Items)) }
		}
		return times(scatter % int64(s.Items)), times(back)
	}
	return same, same
}

func (s *Server) get(in request) ([]byte, error) {
	for table, raw := range in.RequestItems {
		var wanted struct{ Keys []key }
		if err := json.Unmarshal(raw, &wanted); err != nil {
			return nil, err
		}
		body := fmt.Appendf(nil, `{"UnprocessedKeys":{},"ConsumedCapacity":[{"TableName":%q,"CapacityUnits":%d}],"Responses":{%q:[`,
			table, len(wanted.Keys)*units(s.size(), 4096), table)
		for i, key := range wanted.Keys {
			number, err := strconv.Atoi(key.K.S)
			if err != nil {
				return nil, err
			}
			if i > 0 {
				body = append(body, ',')
			}
			body = s.appendItem(body, number)
		}
		return append(body, `]}}`...), nil
	}
	return nil, nil
}
