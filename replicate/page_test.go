package replicate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reseal/internal/stream"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// put is a record as it comes, but for what is not read.
const put = `{"eventID":"e","eventName":"INSERT","eventVersion":"1.1","dynamodb":{"ApproximateCreationDateTime":1.7000000005E9,
	"Keys":{"id":{"S":"k"}},"NewImage":{"id":{"S":"k"},"n":{"N":"1.0"}},"OldImage":{"id":{"S":"k"},"l":{"L":[{"S":"]}"}]}},"SequenceNumber":"7","SizeBytes":9},
	"userIdentity":null,"eventSourceARN":"of the event"}`

func TestReadPage(t *testing.T) {
	t.Parallel()
	found, err := stream.ReadPage(idSchema, "stream", []byte(` { "Records" : [ `+put+` , {"eventName":"REMOVE","dynamodb":{"SequenceNumber":"8","Keys":{"id":{"S":"\u006b"}}}} ] , "NextShardIterator" : "a\/b|\u0063" } `))
	if err != nil || found.Unread != nil || len(found.Records) != 2 || aws.ToString(found.Next) != "a/b|c" {
		t.Fatalf("%+v, %v", found, err)
	}
	one, two := found.Records[0], found.Records[1]
	if one.Sequence != "7" || one.Event != "INSERT" || !one.Made.Equal(time.UnixMilli(1700000000500)) || one.Stream != "of the event" ||
		string(one.Image.JSON()) != `{"id":{"S":"k"},"n":{"N":"1.0"}}` || one.Key.ID() == "" {
		t.Errorf("%+v", one)
	}
	if two.Sequence != "8" || two.Event != "REMOVE" || !two.Made.IsZero() || two.Stream != "stream" || !two.Image.Absent() || two.Key != one.Key {
		t.Errorf("%+v", two)
	}
}

// Only an iterator that is absent or null is a shard's end.
func TestNextShardIterator(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]*string{
		`{"Records":[]}`: nil, `{"Records":[],"NextShardIterator":null}`: nil, `{"NextShardIterator":null,"Records":[` + put + `]}`: nil,
		`{"Records":[],"NextShardIterator":""}`: aws.String(""), `{"NextShardIterator":"null","Records":[]}`: aws.String("null"),
		`{"Records":[],"nextShardIterator":"x"}`: nil, // by another name it is something else
	} {
		found, err := stream.ReadPage(idSchema, "", []byte(text))
		if err != nil || (found.Next == nil) != (want == nil) || aws.ToString(found.Next) != aws.ToString(want) {
			t.Errorf("%s: %v, %v", text, found.Next, err)
		}
	}
}

// malformed are no pages: what is wrong with them is not wrong with a record alone.
var malformed = []string{
	``, `null`, `[]`, `{`, `{}`, `{"Records":null}`, `{"Records":{}}`, `{"records":[]}`, `{"NextShardIterator":"x"}`, `{"Records":[]} {}`, `{"Records":[]`,
	`{"Records":[],"NextShardIterator":5}`, `{"Records":[],"NextShardIterator":{"x":1}}`, `{"Records":[],"NextShardIterator":"\x"}`,
	`{"Records":[5]}`, `{"Records":["x"]}`, `{"Records":[` + put + put + `]}`, `{"Records":[` + put + `,]}`, `{"Records":[` + put,
	`{"Records":[{"eventName":5}]}`, `{"Records":[{"dynamodb":"x"}]}`, `{"Records":[{"dynamodb":{"SequenceNumber":7}}]}`,
	`{"Records":[{"dynamodb":{"ApproximateCreationDateTime":"yesterday"}}]}`, `{"Records":[{"dynamodb":{"ApproximateCreationDateTime":1e}}]}`,
	`{"Records":[{"dynamodb":{"SequenceNumber":"7","Keys":{"id":[}}}]}`, `{"Records":[{"dynamodb":{"SequenceNumber":"7","OldImage":{"id":[}}}]}`,
	`{"Records":[{"dynamodb":{"SequenceNumber":"7","NewImage":{"id":{"S":"a"]}}}]}`,
}

func TestMalformedPage(t *testing.T) {
	t.Parallel()
	for _, text := range malformed {
		if found, err := stream.ReadPage(idSchema, "", []byte(text)); err == nil {
			t.Errorf("%s: %+v", text, found)
		}
	}
	for end := range len(put) {
		text := `{"Records":[` + put[:end]
		if _, err := stream.ReadPage(idSchema, "", []byte(text)); err == nil {
			t.Errorf("cut: %s", text)
		}
	}
}

// A record that can't be read is named, wherever its sequence number comes, and those around it are read.
func TestUnreadRecord(t *testing.T) {
	t.Parallel()
	for change, want := range map[string]struct{ sequence, words string }{
		`null`: {"", "sequence number"},
		`{"Keys":{"id":{"S":"k"}},"NewImage":{"id":{"S":"k"}}}`:                                                 {"", "sequence number"},
		`{"SequenceNumber":null,"Keys":{"id":{"S":"k"}},"NewImage":{"id":{"S":"k"}}}`:                           {"", "sequence number"},
		`{"SequenceNumber":"8","NewImage":{"id":{"S":"k"}}}`:                                                    {"8", "keys"},
		`{"SequenceNumber":"8","Keys":null,"NewImage":{"id":{"S":"k"}}}`:                                        {"8", "keys"},
		`{"SequenceNumber":"8","Keys":{"id":{"N":"1"}},"NewImage":{"id":{"S":"k"}}}`:                            {"8", "another type"},
		`{"SequenceNumber":"8","Keys":{"id":{"X":"` + marker + `"}},"NewImage":{"id":{"S":"k"}}}`:               {"8", "keys"},
		`{"SequenceNumber":"8","Keys":{"id":{"S":"k"}}}`:                                                        {"8", "NEW_IMAGE"},
		`{"SequenceNumber":"8","Keys":{"id":{"S":"k"}},"NewImage":null}`:                                        {"8", "NEW_IMAGE"},
		`{"Keys":{"id":{"S":"k"}},"NewImage":{"id":{"S":"k"},"x":{"X":"` + marker + `"}},"SequenceNumber":"8"}`: {"8", "new image"},
		`{"Keys":{"id":{"S":"k"}},"NewImage":{"x":null},"SequenceNumber":"8"}`:                                  {"8", "new image"},
		`{"Keys":{"id":{"S":"k"}},"NewImage":["` + marker + `"],"SequenceNumber":"8"}`:                          {"8", "new image"},
		`{"Keys":"` + marker + `","NewImage":{"id":{"S":"k"}},"SequenceNumber":"8"}`:                            {"8", "keys"},
	} {
		found, err := stream.ReadPage(idSchema, "", []byte(`{"Records":[`+put+`,{"eventName":"MODIFY","dynamodb":`+change+`},`+put+`]}`))
		if err != nil || len(found.Records) != 3 || found.Unread == nil {
			t.Errorf("%s: %+v, %v", change, found, err)
			continue
		}
		if found.Unread.Index != 1 || found.Unread.Sequence != want.sequence || !strings.Contains(found.Unread.Err.Error(), want.words) || strings.Contains(found.Unread.Err.Error(), marker) {
			t.Errorf("%s: %+v", change, found.Unread)
		}
		if found.Records[0].Sequence != "7" || found.Records[2].Sequence != "7" || found.Records[2].Image.Absent() {
			t.Errorf("%s: beside it %+v", change, found.Records)
		}
	}
}

// A page keeps nothing of the text but the images.
func TestPageKeepsOnlyImages(t *testing.T) {
	t.Parallel()
	text := []byte(`{"Records":[` + put + `,{"eventName":"MOVE","dynamodb":{"SequenceNumber":"8","Keys":{"id":{"S":"k"}}}}],"NextShardIterator":"next"}`)
	found, err := stream.ReadPage(idSchema, "", text)
	if err != nil {
		t.Fatal(err)
	}
	describe := func() string {
		one, two := found.Records[0], found.Records[1]
		return fmt.Sprintf("%q %q %q %q %q %q %q %v", one.Key.ID(), one.Sequence, one.Event, one.Stream, two.Sequence, two.Event, *found.Next, found.Unread)
	}
	before := describe()
	copy(text, bytes.Repeat([]byte("#"), len(text)))
	if after := describe(); after != before {
		t.Errorf("%s, but was %s", after, before)
	}
}

// An answer that can't be read is asked for again: it is not taken for an empty one, nor for the shard's end.
func TestMalformedAnswersAreRepeated(t *testing.T) {
	t.Parallel()
	testkit.BadAnswers(t, "they are what is tested", "type")
	for i, text := range []string{`{}`, `{"Records":null}`, `{"NextShardIterator":null}`, `{"Records":[` + put, `{"Records":[],"NextShardIterator":5}`} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.put("id", "a", "v", "1")
			f.proxy.Use(firstTimes(3, "GetRecords", func() *testkit.Response { return &testkit.Response{Body: []byte(text)} }))
			if result := f.run(f.options()); result.Records != 1 {
				t.Errorf("result is %+v", result)
			}
			f.wantSame()
		})
	}
}

// A record that can't be read ends the tailer at once, with the position before it, and without the record's data in the error.
func TestTailerEndsAtAnUnreadRecord(t *testing.T) {
	t.Parallel()
	testkit.BadAnswers(t, "a type of a newer service", "member")
	f := newFixture(t)
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "GetRecords" {
			return nil
		}
		return &testkit.Response{Body: fmt.Appendf(nil, `{"Records":[{"eventName":"MODIFY","dynamodb":{"SequenceNumber":"8",
			"Keys":{"id":{"S":%q}},"NewImage":{"x":{"X":%q}}}}],"NextShardIterator":"next"}`, marker, marker)}
	})
	o := f.withCheckpoint()
	_, err := Run(limited(t), o)
	if err == nil || !strings.Contains(err.Error(), `record "8"`) || !strings.Contains(err.Error(), "new image") || strings.Contains(err.Error(), marker) {
		t.Errorf("error is %v", err)
	}
	if f.proxy.Count("GetRecords") != 1 || f.proxy.Count("BatchWriteItem") != 0 {
		t.Errorf("%d reads, %d writes", f.proxy.Count("GetRecords"), f.proxy.Count("BatchWriteItem"))
	}
	for shard, position := range positions(t, o.Checkpoint) {
		if position.Sequence != "" || position.Drained {
			t.Errorf("shard %s: %+v", shard, position)
		}
	}
}

func positions(t *testing.T, path string) map[string]stream.Position {
	t.Helper()
	var file checkpointFile
	data, err := os.ReadFile(filepath.Clean(path))
	if err = errors.Join(err, json.Unmarshal(data, &file)); err != nil || len(file.Shards) == 0 {
		t.Fatalf("%s: %v", data, err)
	}
	return file.Shards
}

// The shard of an answer without an iterator is drained; that of one with it is not.
func TestShardEndByTheAnswer(t *testing.T) {
	t.Parallel()
	for end, drained := range map[string]bool{``: true, `,"NextShardIterator":null`: true, `,"NextShardIterator":"next"`: false} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
				if x.Op == "GetRecords" {
					return &testkit.Response{Body: []byte(`{"Records":[]` + end + `}`)}
				}
				return nil
			})
			o := f.withCheckpoint()
			f.run(o)
			for shard, position := range positions(t, o.Checkpoint) {
				if position.Drained != drained {
					t.Errorf("shard %s: %+v", shard, position)
				}
			}
			if reads := f.proxy.Count("GetRecords"); drained != (reads == 1) {
				t.Errorf("%d reads", reads)
			}
		})
	}
}

// otherStreams is a client that isn't the SDK's.
type otherStreams struct{ StreamsAPI }

// The bytes of an answer and the attribute values of the same one make the same table.
func TestBothWaysAreTheSame(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	changes, _, _ := changeAll(f)
	byBytes := f.options()
	byValues := f.options()
	byValues.Streams = otherStreams{byValues.Streams}
	byValues.TargetTable = testkit.CreateTable(t, f.db, testkit.TableSpec{Hash: "id:S"})
	one, two := f.run(byBytes), f.run(byValues)
	if one.Counts != two.Counts || one.Records != changes {
		t.Errorf("%+v and %+v", one.Counts, two.Counts)
	}
	f.wantSame()
	for _, line := range testkit.Diff(t, f.db, f.target, f.db, byValues.TargetTable) {
		t.Error(line)
	}
}

// A Lambda's event that isn't one fails, as a whole: an empty answer would be a success.
func TestHandleMalformedEvent(t *testing.T) {
	t.Parallel()
	f := newLambda(t, newFixture(t))
	for _, text := range malformed {
		f.log.Reset()
		answer, err := f.handler.Invoke(t.Context(), []byte(text))
		if err == nil || answer != nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: answer is %s, %v", text, answer, err)
		}
		if log := f.logged(); log["level"] != "ERROR" || log["msg"] != "event not read" {
			t.Errorf("%s: log is %v", text, log)
		}
	}
	if f.proxy.Count("BatchWriteItem") != 0 {
		t.Error("something was written")
	}
}

// aws-lambda-go reads the next event into the memory of this one. What is in the target, and what was handed on, must not change by it.
func TestHandleLetsGoOfTheEvent(t *testing.T) {
	t.Parallel()
	f := poisoned(t)
	l := newLambda(t, f)
	var handed []Record
	l.handler.poison = func(_ context.Context, record Record, _ error) error {
		handed = append(handed, record)
		return nil
	}
	bad := change("MODIFY", "2", "bad", map[string]any{"g": map[string]string{"S": "no number"}})
	event := eventOf(t, modify("1", "a", "1"), bad, change("MODIFY", "3", "b", nil))
	answer := l.handle(t.Context(), event)
	copy(event, bytes.Repeat([]byte("#"), len(event)))
	if answer != failureAt("3") {
		t.Errorf("answer is %s", answer)
	}
	f.wantTarget("a", "1")
	if len(handed) != 1 || handed[0].Sequence != "2" || handed[0].Event != "MODIFY" {
		t.Fatalf("%+v was handed on", handed)
	}
	if key, err := handed[0].Key.JSON(); err != nil || key != `{"id":{"S":"bad"}}` {
		t.Errorf("its key is %s, %v", key, err)
	}
}
