package testkit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Canned is a DynamoDB with two tables, "source" and "target", and no data: their items, the same in both, are made up whenever
// they are read, and what is written is forgotten. It costs so little that a client's own memory and time can be measured
// with millions of items. Every item has about 190 bytes in seven attributes; the key k (S) is its number.
type Canned struct {
	// URL is what the client takes as its base endpoint.
	URL string
	// Reversed makes Scans of the target return the last items first. Set it before the first request.
	Reversed bool

	items int
}

// NewCanned starts a server with so many items. It ends with the test.
func NewCanned(t testing.TB, items int) *Canned {
	t.Helper()
	c := &Canned{items: items}
	server := httptest.NewServer(c)
	c.URL = server.URL
	t.Cleanup(server.Close)
	return c
}

// cannedKey is a key in a request.
type cannedKey struct{ K struct{ S string } }

// cannedRequest is what Canned reads of any request.
type cannedRequest struct {
	TableName              string
	Segment, TotalSegments int
	Limit                  int
	ExclusiveStartKey      *cannedKey
	RequestItems           map[string]json.RawMessage
}

// ServeHTTP answers one request.
func (c *Canned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var in cannedRequest
	if op != "BatchWriteItem" { // it is the largest, and nothing in it matters
		if err := json.Unmarshal(body, &in); err != nil {
			Fail(http.StatusBadRequest, "SerializationException", err.Error()).write(w)
			return
		}
	}
	var answer []byte
	switch op {
	case "DescribeTable":
		answer = c.describe(in.TableName)
	case "Scan":
		answer, err = c.scan(in)
	case "BatchGetItem":
		answer, err = c.get(in)
	case "BatchWriteItem":
		answer = fmt.Appendf(nil, `{"UnprocessedItems":{},"ConsumedCapacity":[{"TableName":"target","CapacityUnits":%d}]}`,
			bytes.Count(body, []byte(`"PutRequest"`)))
	default:
		err = fmt.Errorf("operation %q is not canned", op)
	}
	if err != nil {
		Fail(http.StatusBadRequest, "ValidationException", err.Error()).write(w)
		return
	}
	(&Response{Body: answer}).write(w)
}

func (c *Canned) describe(name string) []byte {
	stream := `,"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"},"LatestStreamArn":"arn:aws:dynamodb:us-east-1:000000000000:table/source/stream/1"`
	if name == "target" {
		stream = `,"SSEDescription":{"Status":"ENABLED","SSEType":"KMS"}`
	}
	return fmt.Appendf(nil, `{"Table":{"TableName":%q,"TableArn":"arn:aws:dynamodb:us-east-1:000000000000:table/%s","TableStatus":"ACTIVE","CreationDateTime":%d,
"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],
"BillingModeSummary":{"BillingMode":"PAY_PER_REQUEST"},"WarmThroughput":{"ReadUnitsPerSecond":1000000,"WriteUnitsPerSecond":1000000},
"ItemCount":%d,"TableSizeBytes":%d%s}}`, name, name, time.Now().Unix(), c.items, c.items*cannedSize, stream)
}

// cannedSize is the size of an item, as DynamoDB counts it.
const cannedSize = 190

// appendItem appends the item of a number as DynamoDB JSON.
func appendItem(dst []byte, number int) []byte {
	dst = append(dst, `{"k":{"S":"`...)
	dst = appendNumber(dst, number)
	dst = append(dst, `"},"name":{"S":"Sant Julià de Lòria "},"country":{"S":"AD"},"population":{"N":"`...)
	dst = strconv.AppendInt(dst, int64(number), 10)
	dst = append(dst, `"},"latitude":{"N":"42.46372"},"tags":{"SS":["capital","mountain","border"]},"notes":{"S":"`...)
	dst = append(dst, "Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam"...)
	return append(dst, `"}}`...)
}

func appendNumber(dst []byte, number int) []byte {
	return fmt.Appendf(dst, "%010d", number)
}

// scan answers with the items at the positions of the segment; the number of the item at a position depends on the order.
func (c *Canned) scan(in cannedRequest) ([]byte, error) {
	number := func(position int) int {
		if c.Reversed && in.TableName == "target" {
			return c.items - 1 - position
		}
		return position
	}
	start := in.Segment * c.items / in.TotalSegments
	end := (in.Segment + 1) * c.items / in.TotalSegments
	if in.ExclusiveStartKey != nil {
		after, err := strconv.Atoi(in.ExclusiveStartKey.K.S)
		if err != nil {
			return nil, err
		}
		start = number(after) + 1
	}
	count := min(end-start, 1<<20/cannedSize)
	if in.Limit > 0 {
		count = min(count, in.Limit)
	}
	body := make([]byte, 0, count*320+500)
	body = fmt.Appendf(body, `{"Count":%d,"ScannedCount":%d,"ConsumedCapacity":{"TableName":%q,"CapacityUnits":%g}`,
		count, count, in.TableName, max(0.5, math.Ceil(float64(count)*cannedSize/4096)/2))
	if start+count < end {
		body = append(body, `,"LastEvaluatedKey":{"k":{"S":"`...)
		body = append(appendNumber(body, number(start+count-1)), `"}}`...)
	}
	body = append(body, `,"Items":[`...)
	for i := range count {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendItem(body, number(start+i))
	}
	return append(body, `]}`...), nil
}

func (c *Canned) get(in cannedRequest) ([]byte, error) {
	for table, raw := range in.RequestItems {
		var wanted struct{ Keys []cannedKey }
		if err := json.Unmarshal(raw, &wanted); err != nil {
			return nil, err
		}
		body := fmt.Appendf(nil, `{"UnprocessedKeys":{},"ConsumedCapacity":[{"TableName":%q,"CapacityUnits":%d}],"Responses":{%q:[`, table, len(wanted.Keys), table)
		for i, key := range wanted.Keys {
			number, err := strconv.Atoi(key.K.S)
			if err != nil {
				return nil, err
			}
			if i > 0 {
				body = append(body, ',')
			}
			body = appendItem(body, number)
		}
		return append(body, `]}}`...), nil
	}
	return nil, nil
}
