package torture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
)

// ask sends a request to the engine's streams, as JSON, so that records stay as the engine writes them.
func (r *liveRun) ask(op string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, testkit.Engine(r.t), bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("X-Amz-Target", "DynamoDBStreams_20120810."+op)
	request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	request.Header.Set("X-Amz-Date", "20260101T000000Z")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(answer.Body)
	err = errors.Join(err, answer.Body.Close())
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", op, data)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(data, out)
}

// pump carries the records of the engine's stream, which has one shard, into the run's, which has many, until stop is closed and
// there is nothing more.
func (r *liveRun) pump(stop <-chan struct{}) {
	var description struct {
		StreamDescription struct{ Shards []struct{ ShardID string } }
	}
	err := r.ask("DescribeStream", map[string]any{"StreamArn": r.streamARN}, &description)
	if err != nil || len(description.StreamDescription.Shards) != 1 {
		r.fail("describe the engine's stream: %v, %d shards", err, len(description.StreamDescription.Shards))
		return
	}
	var next struct{ ShardIterator string }
	if err := r.ask("GetShardIterator", map[string]any{
		"StreamArn": r.streamARN, "ShardId": description.StreamDescription.Shards[0].ShardID, "ShardIteratorType": "TRIM_HORIZON",
	}, &next); err != nil {
		r.fail("get an iterator of the engine's stream: %v", err)
		return
	}
	for {
		last := hasEnded(stop)
		var out struct {
			Records           []map[string]json.RawMessage
			NextShardIterator string
		}
		if err := r.ask("GetRecords", map[string]any{"ShardIterator": next.ShardIterator}, &out); err != nil {
			if r.t.Context().Err() == nil {
				r.fail("read the engine's stream: %v", err)
			}
			return
		}
		for _, record := range out.Records {
			if err := r.take(record); err != nil {
				r.fail("record of the engine's stream: %v", err)
				return
			}
		}
		if last && len(out.Records) == 0 {
			return
		}
		next.ShardIterator = out.NextShardIterator
		r.pause(50 * time.Millisecond)
	}
}

// take puts a record into its shard, with a sequence number in the order of text.
func (r *liveRun) take(record map[string]json.RawMessage) error {
	var change map[string]json.RawMessage
	if err := json.Unmarshal(record["dynamodb"], &change); err != nil {
		return err
	}
	key, err := attributevalue.UnmarshalMapJSON(change["Keys"])
	if err != nil {
		return err
	}
	r.pumped++
	random := dice(r.plan.seed, "record", r.pumped)
	sequence := sequenceNumber(r.pumped)
	change["SequenceNumber"] = json.RawMessage(strconv.Quote(sequence))
	if record["dynamodb"], err = json.Marshal(change); err != nil {
		return err
	}
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	r.stream.append(placeOf(0, text(key)), entry[json.RawMessage]{sequence: sequence, visible: time.Now().Add(between(random, 0, 300*time.Millisecond)), record: data})
	return nil
}

// serveStream answers a request to the source's stream; nil: it is none.
func (r *liveRun) serveStream(x *testkit.Exchange) *testkit.Response {
	var in struct{ ExclusiveStartShardID, ShardID, ShardIteratorType, SequenceNumber, ShardIterator string }
	if x.Op != "DescribeStream" && x.Op != "GetShardIterator" && x.Op != "GetRecords" {
		return nil
	}
	if err := json.Unmarshal(x.Body, &in); err != nil {
		return testkit.Fail(http.StatusBadRequest, "SerializationException", err.Error())
	}
	var out any
	var err error
	switch x.Op {
	case "DescribeStream":
		out = r.describeStream(in.ExclusiveStartShardID)
	case "GetShardIterator":
		var at int
		at, err = r.stream.position(in.ShardID, in.ShardIteratorType, in.SequenceNumber, time.Now())
		out = map[string]any{"ShardIterator": iterator(in.ShardID, at, false)}
	case "GetRecords":
		out, err = r.getRecords(in.ShardIterator)
	}
	switch {
	case errors.Is(err, errExpired):
		return testkit.Fail(http.StatusBadRequest, "ExpiredIteratorException", "expired")
	case err != nil:
		r.fail("%s: %v", x.Op, err)
		return testkit.Fail(http.StatusBadRequest, "ResourceNotFoundException", err.Error())
	}
	body, err := json.Marshal(out)
	if err != nil {
		r.fail("%v", err)
	}
	return &testkit.Response{Body: body}
}

func (r *liveRun) describeStream(after string) any {
	views, more := r.stream.list(time.Now(), after, 3)
	var shards []map[string]any
	for _, view := range views {
		one := map[string]any{"ShardId": view.id}
		if view.parent != "" {
			one["ParentShardId"] = view.parent
		}
		numbers := map[string]string{"StartingSequenceNumber": sequenceNumber(0)}
		if view.closed {
			numbers["EndingSequenceNumber"] = sequenceNumber(1e9)
		}
		one["SequenceNumberRange"] = numbers
		shards = append(shards, one)
	}
	description := map[string]any{"StreamArn": r.streamARN, "StreamStatus": "ENABLED", "Shards": shards}
	if more {
		description["LastEvaluatedShardId"] = views[len(views)-1].id
	}
	return map[string]any{"StreamDescription": description}
}

var errExpired = errors.New("the iterator has expired")

func (r *liveRun) getRecords(from string) (any, error) {
	shard, index, full, err := parseIterator(from)
	if err != nil {
		return nil, err
	}
	random := dice(r.plan.seed, "records of "+shard, r.ordinal("records of "+shard))
	if chance(random, r.plan.faults/4) {
		r.count("iterator expired")
		return nil, errExpired
	}
	most := oneOf(random, 0, 1, 10, 100, 1000)
	if full {
		most = max(1, most)
	}
	if index > 0 && most > 0 && chance(random, r.plan.faults) && r.ordinal("replay of "+shard) < 5 {
		r.count("records replayed")
		again := 1 + random.IntN(min(index, 20))
		index, most = index-again, most+again
	}
	records, ended, err := r.stream.read(shard, index, most, time.Now())
	if err != nil {
		return nil, err
	}
	list := []json.RawMessage{}
	for _, one := range records {
		list = append(list, one.record)
	}
	out := map[string]any{"Records": list}
	if !ended {
		out["NextShardIterator"] = iterator(shard, index+len(records), most == 0)
	}
	return out, nil
}

// startReplication starts the tailer, or the Lambda behind its service.
func (r *liveRun) startReplication() replication {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		r.pause(r.plan.starts[replicator])
		if r.plan.asLambda {
			r.deliver(done)
			return
		}
		args := r.commandLine("replicate", "--checkpoint", "replicate.json")
		r.keep(replicator, "", done, args...)
		r.keep(replicator, " to its end", nil, append(args, "--until-idle", "1500ms")...)
	})
	return replication{drain: func() {
		close(done)
		running.Wait()
	}}
}

// deliver is the Lambda's service: shard by shard, a parent before its children, until all is delivered and done is closed.
func (r *liveRun) deliver(done <-chan struct{}) {
	service := testkit.NewLambda(r.t)
	var p *liveProcess
	service.Start = func() *exec.Cmd {
		if p != nil {
			p.mu.Lock()
			p.dead = true
			p.mu.Unlock()
			p.underWay.Wait()
			r.count("replicate (Lambda) started again")
		}
		n := r.ordinal("function")
		p = &liveProcess{r: r, role: replicator, terminate: service.Kill}
		if random := dice(r.plan.seed, "function", n); n < 2*r.plan.mostTroubles {
			p.writes = 1 + random.IntN(6)
		}
		target := testkit.NewProxy(r.t, testkit.Engine(r.t))
		p.cmd = exec.Command(r.binary("replicator"))
		p.cmd.Env = append([]string{
			"RESEAL_TARGET_TABLE=" + r.target, "RESEAL_TARGET_ENDPOINT_URL=" + target.URL, "AWS_LAMBDA_RUNTIME_API=" + service.Address,
		}, processEnvironment...)
		target.Use(p.hook("target"))
		return p.cmd
	}
	defer service.Kill()
	given, ended := map[string]int{}, map[string]bool{"": true}
	for round := 0; ; round++ {
		last := hasEnded(done)
		if last {
			r.pause(400 * time.Millisecond) // until all records are visible
		}
		views, _ := r.stream.list(time.Now().Add(time.Hour), "", 1000)
		for _, view := range views {
			if !ended[view.parent] {
				last = false
				continue
			}
			records, isEnd, err := r.stream.read(view.id, given[view.id], 1000, time.Now())
			if err != nil {
				r.fail("%v", err)
				return
			}
			random := dice(r.plan.seed, "delivery of "+view.id, round)
			list := make([]json.RawMessage, 0, len(records))
			for _, one := range records {
				list = append(list, one.record)
			}
			if err := service.Deliver(list, 1+random.IntN(50)); err != nil {
				r.fail("deliver: %v", err)
				return
			}
			given[view.id] += len(records)
			if len(records) > 0 && chance(random, r.plan.faults) {
				given[view.id] -= 1 + random.IntN(min(20, len(records)))
				r.count("batch replayed")
				isEnd, last = false, false
			}
			ended[view.id] = isEnd
		}
		if last {
			r.tally.add("partial batch response", service.Partial)
			return
		}
		r.pause(100 * time.Millisecond)
	}
}
