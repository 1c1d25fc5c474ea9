package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// history is a random sequence of changes to a table, and what the table holds at its end.
type history struct {
	records []json.RawMessage // as Lambda delivers them
	final   map[string]map[string]types.AttributeValue
}

// newHistory draws changes, three in ten of them to 20 hot keys.
func newHistory(t *testing.T, random *rand.Rand, changes, keys int) history {
	t.Helper()
	h := history{final: map[string]map[string]types.AttributeValue{}}
	for n := range changes {
		id := fmt.Sprintf("key %d", random.IntN(keys))
		if random.IntN(10) < 3 {
			id = fmt.Sprintf("hot %d", random.IntN(20))
		}
		key := map[string]any{"id": map[string]any{"S": id}}
		change := map[string]any{
			"Keys": key, "SequenceNumber": fmt.Sprintf("%021d", n+1), "ApproximateCreationDateTime": 1.7e9, "StreamViewType": "NEW_AND_OLD_IMAGES",
		}
		record := map[string]any{"eventID": fmt.Sprint(n), "eventSource": "aws:dynamodb", "eventSourceARN": "arn:stream", "dynamodb": change}
		switch {
		case random.IntN(5) == 0:
			record["eventName"] = "REMOVE"
			if random.IntN(2) == 0 { // by TTL
				record["userIdentity"] = map[string]any{"type": "Service", "principalId": "dynamodb.amazonaws.com"}
			}
			delete(h.final, id)
		default:
			record["eventName"] = "MODIFY"
			image := drawImage(random, n)
			image["id"] = key["id"]
			change["NewImage"] = image
			h.final[id] = parse(t, image)
		}
		data, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		h.records = append(h.records, data)
	}
	return h
}

// drawImage is an item of all types, some of its attributes left out.
func drawImage(random *rand.Rand, n int) map[string]any {
	all := map[string]any{
		"n": map[string]any{"N": fmt.Sprintf("%d.%037d", n%10, n)}, "text": map[string]any{"S": strings.Repeat("é", n%7)},
		"binary": map[string]any{"B": []byte{byte(n), 0, 255}}, "set": map[string]any{"NS": []string{fmt.Sprint(n), "-1"}},
		"list": map[string]any{"L": []any{map[string]any{"NULL": true}, map[string]any{"M": map[string]any{"b": map[string]any{"BOOL": n%2 == 0}}}}},
		"none": map[string]any{"S": ""},
	}
	for name := range all {
		if random.IntN(4) == 0 {
			delete(all, name)
		}
	}
	return all
}

func parse(t *testing.T, image map[string]any) map[string]types.AttributeValue {
	t.Helper()
	data, err := json.Marshal(image)
	if err != nil {
		t.Fatal(err)
	}
	attributes, err := attributevalue.UnmarshalMapJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	return attributes
}

// world is the network between the function's processes and the engine, with faults and crashes.
type world struct {
	t      *testing.T
	lambda *testkit.Lambda
	target string
	batch  int // every so many invocations the process is killed while it writes

	mu        sync.Mutex
	random    *rand.Rand
	process   int // number of the one that may reach the engine
	invoked   int // when it was looked at last
	underWay  sync.WaitGroup
	faults    map[string]int
	processes []*bytes.Buffer // their logs
}

// start makes a process with a way to the engine of its own. What the one before it has sent is through, or never will be: a write
// that lands after newer ones is what no replicator can help (see the README's limits).
func (w *world) start() *exec.Cmd {
	w.mu.Lock()
	w.process++
	own := w.process
	w.mu.Unlock()
	w.underWay.Wait()
	proxy := testkit.NewProxy(w.t, testkit.Engine(w.t))
	proxy.Use(func(x *testkit.Exchange) *testkit.Response { return w.pass(own, x) })
	cmd := command(w.t, "RESEAL_TARGET_TABLE="+w.target, "RESEAL_TARGET_REGION="+testkit.Region, "RESEAL_TARGET_ENDPOINT_URL="+proxy.URL,
		"AWS_LAMBDA_RUNTIME_API="+w.lambda.Address)
	log := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	w.processes = append(w.processes, log)
	return cmd
}

// pass lets a request through, or doesn't.
func (w *world) pass(process int, x *testkit.Exchange) *testkit.Response {
	w.mu.Lock()
	if process != w.process {
		w.mu.Unlock()
		return &testkit.Response{Cut: true}
	}
	w.underWay.Add(1)
	defer w.underWay.Done()
	fault := ""
	if x.Op == "BatchWriteItem" {
		switch draw := w.random.IntN(100); {
		case w.lambda.Invocations/w.batch > w.invoked/w.batch:
			w.invoked = w.lambda.Invocations
			fault = [...]string{"crash before a write", "crash after a write"}[w.random.IntN(2)]
		case draw < 9:
			fault = [...]string{"throttle", "unprocessed", "server error", "cut before", "cut after"}[draw%5]
		}
	}
	if fault != "" {
		w.faults[fault]++
	}
	w.mu.Unlock()
	switch fault {
	case "throttle":
		return testkit.Throttle(x.Op)
	case "server error":
		return testkit.Fail(500, "InternalServerError", string(x.Body)) // which quotes the items
	case "cut before":
		return &testkit.Response{Cut: true}
	case "unprocessed":
		return w.half(x)
	case "crash before a write", "cut after", "crash after a write":
		if fault != "crash before a write" {
			if _, _, err := x.Forward(); err != nil {
				w.t.Error(err)
			}
		}
		if fault != "cut after" {
			w.lambda.Kill()
		}
		return &testkit.Response{Cut: true}
	}
	return nil
}

// half writes the first half of a batch and leaves the rest unprocessed.
func (w *world) half(x *testkit.Exchange) *testkit.Response {
	var request struct {
		RequestItems map[string][]json.RawMessage
	}
	if err := json.Unmarshal(x.Body, &request); err != nil {
		w.t.Error(err)
	}
	all := request.RequestItems[w.target]
	if len(all) < 2 {
		return nil
	}
	left := all[len(all)/2:]
	request.RequestItems[w.target] = all[:len(all)/2]
	body, err := json.Marshal(request)
	if err != nil {
		w.t.Error(err)
	}
	x.Body = body
	if status, answer, err := x.Forward(); err != nil || status != 200 {
		w.t.Errorf("%d, %s, %v", status, answer, err)
	}
	answer, err := json.Marshal(map[string]any{"UnprocessedItems": map[string]any{w.target: left}})
	if err != nil {
		w.t.Error(err)
	}
	return &testkit.Response{Body: answer}
}

// TestService delivers a long history to the function's real process as the service does, kills it in every 50th invocation while it
// writes, and disturbs its requests. The target must end as the source. With RESEAL_LONG=1 it has 100,000 records.
func TestService(t *testing.T) {
	changes, size := 10_000, 50
	if os.Getenv("RESEAL_LONG") != "" {
		changes, size = 100_000, 100
	}
	engine := testkit.Client(testkit.Engine(t))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	h := newHistory(t, random, changes, changes/5)
	source := testkit.CreateTable(t, engine, testkit.TableSpec{Hash: "id:S"})
	var items []map[string]types.AttributeValue
	for _, one := range h.final {
		items = append(items, one)
	}
	testkit.Fill(t, engine, source, items)

	w := &world{t: t, lambda: testkit.NewLambda(t), target: target(t), batch: 50, random: random, faults: map[string]int{}}
	w.lambda.Start = w.start
	if err := w.lambda.Deliver(h.records, size); err != nil {
		t.Fatalf("%v\n%s", err, w.processes[len(w.processes)-1])
	}
	t.Logf("%d records, %d invocations, %d crashes, %d partial answers, %d errors; faults: %v",
		changes, w.lambda.Invocations, w.lambda.Crashes, w.lambda.Partial, w.lambda.Errors, w.faults)
	if w.lambda.Crashes < changes/size/50 || w.lambda.Errors > 0 {
		t.Errorf("%d crashes, %d errors", w.lambda.Crashes, w.lambda.Errors)
	}
	for _, line := range testkit.Diff(t, engine, source, engine, w.target) {
		t.Error(line)
	}
	w.lambda.Kill() // its log is whole then
	for _, log := range w.processes {
		for _, secret := range []string{"hot 1", "key 1"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("a log holds a key: %s", log)
			}
		}
	}
}
