package testkit

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"math"
	"net/http"
	"sync"
	"time"
)

// Limits says what a Meter lets through. Zero means no limit.
type Limits struct {
	Read, Write    float64       // units a second of the table
	PartitionWrite float64       // units a second of each partition
	Partitions     int           // of the table, by hash of the key attribute named Hash; zero: one
	Hash           string        // the partition key, a string
	Burst          time.Duration // how long a bucket of unused units fills; zero: one second
	Latency        time.Duration // added to each request
}

// Meter counts the units of requests and throttles as DynamoDB does: a token bucket for the table and one for each partition,
// which admit a write while they hold anything. Items that are not admitted come back as UnprocessedItems, and a request of
// which none is as ProvisionedThroughputExceededException. Its Hook is to be used by a Proxy.
type Meter struct {
	limits Limits

	mu             sync.Mutex
	read           bucket
	write          bucket
	partitions     []bucket
	reads, writes  record
	requests       int
	throttled      int
	inFlight, most int
}

// record is the units that were consumed.
type record struct {
	start, last time.Time // of the first and the last request
	seconds     []float64 // units by second since start
}

func (r *record) count(now time.Time, units float64) {
	if r.start.IsZero() {
		r.start = now
	}
	r.last = now
	second := int(now.Sub(r.start) / time.Second)
	for len(r.seconds) <= second {
		r.seconds = append(r.seconds, 0)
	}
	r.seconds[second] += units
}

func (r *record) copy() ([]float64, time.Duration) {
	return append([]float64(nil), r.seconds...), r.last.Sub(r.start)
}

// bucket is a token bucket. It may be overdrawn by what is admitted last.
type bucket struct {
	rate, most, tokens float64
	at                 time.Time
}

func newBucket(rate float64, burst time.Duration) bucket {
	most := rate * burst.Seconds()
	return bucket{rate: rate, most: most, tokens: most, at: time.Now()}
}

// open tells whether the bucket admits something now.
func (b *bucket) open(now time.Time) bool {
	if b.rate == 0 {
		return true
	}
	b.tokens = min(b.most, b.tokens+b.rate*now.Sub(b.at).Seconds())
	b.at = now
	return b.tokens > 0
}

// NewMeter returns a meter with full buckets.
func NewMeter(l Limits) *Meter {
	if l.Burst == 0 {
		l.Burst = time.Second
	}
	m := &Meter{limits: l, read: newBucket(l.Read, l.Burst), write: newBucket(l.Write, l.Burst)}
	for range max(1, l.Partitions) {
		m.partitions = append(m.partitions, newBucket(l.PartitionWrite, l.Burst))
	}
	return m
}

// Hook meters Scan, BatchGetItem and BatchWriteItem and passes on everything else.
func (m *Meter) Hook(x *Exchange) *Response {
	var answer func(*Exchange) *Response
	switch x.Op {
	case "Scan", "BatchGetItem":
		answer = m.reading
	case "BatchWriteItem":
		answer = m.writing
	default:
		return nil
	}
	m.enter(1)
	defer m.enter(-1)
	m.delay(x)
	return answer(x)
}

func (m *Meter) enter(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inFlight += n
	m.most = max(m.most, m.inFlight)
}

// MostInFlight is the most requests that were metered at a time.
func (m *Meter) MostInFlight() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.most
}

func (m *Meter) delay(x *Exchange) {
	if m.limits.Latency == 0 {
		return
	}
	timer := time.NewTimer(m.limits.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.Ctx.Done():
	}
}

// Requests returns how many requests were metered, and how many of them were throttled in whole or in part.
func (m *Meter) Requests() (all, throttled int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests, m.throttled
}

// WriteUnits returns the write units of each second since the first write, and the time from the first to the last.
func (m *Meter) WriteUnits() ([]float64, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes.copy()
}

// ReadUnits is what WriteUnits is, of reads.
func (m *Meter) ReadUnits() ([]float64, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads.copy()
}

// reading admits a read while the bucket holds anything, and takes what it cost.
func (m *Meter) reading(x *Exchange) *Response {
	m.mu.Lock()
	m.requests++
	admitted := m.read.open(time.Now())
	if !admitted {
		m.throttled++
	}
	m.mu.Unlock()
	if !admitted {
		return Throttle(x.Op)
	}
	status, body, err := x.Forward()
	if err != nil {
		return &Response{Cut: true}
	}
	var answer struct{ ConsumedCapacity json.RawMessage }
	var one struct{ CapacityUnits float64 }
	var many []struct{ CapacityUnits float64 }
	if json.Unmarshal(body, &answer) == nil {
		if json.Unmarshal(answer.ConsumedCapacity, &many) == nil {
			for _, c := range many {
				one.CapacityUnits += c.CapacityUnits
			}
		} else {
			_ = json.Unmarshal(answer.ConsumedCapacity, &one) // an answer without it costs nothing
		}
	}
	m.mu.Lock()
	m.read.tokens -= one.CapacityUnits
	m.reads.count(time.Now(), one.CapacityUnits)
	m.mu.Unlock()
	return &Response{Status: status, Body: body}
}

// writeRequest is an element of BatchWriteItem's RequestItems.
type writeRequest struct {
	PutRequest    *struct{ Item map[string]map[string]any } `json:",omitempty"`
	DeleteRequest *struct{ Key map[string]map[string]any }  `json:",omitempty"`
}

// units is the cost and the partition key of the write.
func (r writeRequest) units(hash string) (float64, string) {
	if r.DeleteRequest != nil {
		key, _ := r.DeleteRequest.Key[hash]["S"].(string)
		return 1, key
	}
	size := 0
	for name, value := range r.PutRequest.Item {
		size += len(name) + valueSize(value)
	}
	key, _ := r.PutRequest.Item[hash]["S"].(string)
	return max(1, math.Ceil(float64(size)/1024)), key
}

// valueSize knows strings, binaries and whole numbers: what metered tests write.
func valueSize(value map[string]any) int {
	for kind, v := range value {
		text, _ := v.(string)
		switch kind {
		case "S":
			return len(text)
		case "B":
			return base64.StdEncoding.DecodedLen(len(text))
		case "N":
			return (len(text)+1)/2 + 1
		}
	}
	return 1
}

// writing admits each item by the buckets, has the engine write those, and returns the others.
func (m *Meter) writing(x *Exchange) *Response {
	var body struct {
		RequestItems map[string][]json.RawMessage
	}
	if err := json.Unmarshal(x.Body, &body); err != nil {
		return Fail(http.StatusBadRequest, "SerializationException", err.Error())
	}
	for table, requests := range body.RequestItems {
		admitted, left := m.admit(requests)
		if len(admitted) == 0 {
			return Throttle(x.Op)
		}
		status, answer, err := m.forward(x, table, admitted)
		if err != nil {
			return &Response{Cut: true}
		}
		if status != http.StatusOK || len(left) == 0 {
			return &Response{Status: status, Body: answer}
		}
		return &Response{Body: withUnprocessed(answer, table, left)}
	}
	return nil
}

func (m *Meter) forward(x *Exchange, table string, admitted []json.RawMessage) (int, []byte, error) {
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(x.Body, &whole); err != nil {
		return 0, nil, err
	}
	items, err := json.Marshal(map[string][]json.RawMessage{table: admitted})
	if err != nil {
		return 0, nil, err
	}
	whole["RequestItems"] = items
	if x.Body, err = json.Marshal(whole); err != nil {
		return 0, nil, err
	}
	return x.Forward()
}

func withUnprocessed(answer []byte, table string, left []json.RawMessage) []byte {
	var whole map[string]any
	if json.Unmarshal(answer, &whole) != nil {
		return answer
	}
	whole["UnprocessedItems"] = map[string][]json.RawMessage{table: left}
	changed, err := json.Marshal(whole)
	if err != nil {
		return answer
	}
	return changed
}

func (m *Meter) admit(requests []json.RawMessage) (admitted, left []json.RawMessage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.requests++
	for _, raw := range requests {
		var request writeRequest
		if err := json.Unmarshal(raw, &request); err != nil {
			admitted = append(admitted, raw) // the engine will say what is wrong with it
			continue
		}
		units, key := request.units(m.limits.Hash)
		partition := m.partition(key)
		if !m.write.open(now) || !partition.open(now) {
			left = append(left, raw)
			continue
		}
		m.write.tokens -= units
		partition.tokens -= units
		admitted = append(admitted, raw)
		m.writes.count(now, units)
	}
	if len(left) > 0 {
		m.throttled++
	}
	return admitted, left
}

func (m *Meter) partition(key string) *bucket {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(key))
	return &m.partitions[int(hash.Sum32()%uint32(len(m.partitions)))]
}
