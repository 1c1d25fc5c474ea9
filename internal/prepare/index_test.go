package prepare_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"reseal/internal/refuse"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// describes changes what DescribeTable says of a table. change gets the number of the answer, from 1 on.
func (p *pair) describes(name string, change func(n int, body []byte) []byte) {
	n := 0
	p.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "DescribeTable" || !bytes.Contains(x.Body, []byte(`"`+name+`"`)) {
			return nil
		}
		status, body, err := x.Forward()
		if err != nil || status != 200 {
			return nil
		}
		var compact bytes.Buffer // engines set their answers in different ways
		if err := json.Compact(&compact, body); err != nil {
			return nil
		}
		n++
		return &testkit.Response{Body: change(n, compact.Bytes())}
	})
}

const activeIndex = `"IndexStatus":"ACTIVE"`

// A table that is ACTIVE may have indexes that are not. Apply waits for them, and doesn't call the target done before.
func TestApplyWaitsForIndexes(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	p.mustApply()
	asked := 0
	p.describes(p.target, func(n int, body []byte) []byte {
		if !bytes.Contains(body, []byte(activeIndex)) {
			t.Fatalf("the engine tells no index's state: %s", body)
		}
		asked = n
		switch n {
		case 1, 2, 3:
			return bytes.Replace(body, []byte(activeIndex), []byte(`"IndexStatus":"CREATING","Backfilling":true`), 1)
		}
		return body
	})
	p.mustApply()
	if asked < 4 {
		t.Errorf("done after %d descriptions", asked)
	}
}

// One that comes and goes is not taken for done either.
func TestApplyIndexNotActiveInTheEnd(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	p.mustApply()
	p.describes(p.target, func(n int, body []byte) []byte {
		if n > 3 {
			return bytes.Replace(body, []byte(activeIndex), []byte(`"IndexStatus":"UPDATING"`), 1)
		}
		return body
	})
	if _, err := p.apply(""); err == nil || !strings.Contains(err.Error(), "global is UPDATING") || refuse.Is(err) {
		t.Errorf("it says %v", err)
	}
}

// An index that is being deleted on the source is not made again, nor are its attributes defined, and that is said.
func TestApplyLeavesOutADeletedIndex(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	p.describes(p.source, func(_ int, body []byte) []byte {
		return bytes.Replace(body, []byte(activeIndex), []byte(`"IndexStatus":"DELETING"`), 1)
	})
	applied := p.mustApply()
	p.proxy.Use(nil)
	out, err := p.db.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &p.target})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Table.GlobalSecondaryIndexes) != 0 || len(out.Table.AttributeDefinitions) != 3 {
		t.Errorf("made: indexes %v, attributes %v", out.Table.GlobalSecondaryIndexes, out.Table.AttributeDefinitions)
	}
	if !slices.ContainsFunc(applied.Notes, func(note string) bool { return strings.Contains(note, "index global is being deleted") }) {
		t.Errorf("it is not said: %q", applied.Notes)
	}
}

// A target whose index is being deleted would be a target without it.
func TestApplyRefusesATargetThatLosesAnIndex(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	p.mustApply()
	p.describes(p.target, func(_ int, body []byte) []byte {
		return bytes.Replace(body, []byte(activeIndex), []byte(`"IndexStatus":"DELETING"`), 1)
	})
	if _, err := p.apply(""); !refuse.Is(err) || !strings.Contains(err.Error(), "is being deleted") {
		t.Errorf("it says %v", err)
	}
}

// Which key an attribute belongs to counts: an index may have several attributes in each of its keys.
func TestApplyTellsMultiAttributeKeysApart(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(in *dynamodb.CreateTableInput) {
		in.AttributeDefinitions = append(in.AttributeDefinitions, definitions("z", "S")...)
		in.GlobalSecondaryIndexes[0].KeySchema = keys("x", "z")
	})
	p.mustApply()
	const hash, rng = `{"AttributeName":"z","KeyType":"HASH"}`, `{"AttributeName":"z","KeyType":"RANGE"}`
	p.describes(p.target, func(_ int, body []byte) []byte {
		changed := bytes.Replace(body, []byte(rng), []byte(hash), 1)
		if bytes.Equal(changed, body) {
			t.Errorf("the engine writes keys in another way: %s", body)
		}
		return changed
	})
	if _, err := p.apply(""); !refuse.Is(err) || !strings.Contains(err.Error(), "global secondary indexes") {
		t.Errorf("HASH(x, z) for HASH(x) RANGE(z): %v", err)
	}
}

// A table in a state that doesn't pass by itself gets no stack, and no target.
func TestLostTables(t *testing.T) {
	t.Parallel()
	for _, status := range []types.TableStatus{types.TableStatusInaccessibleEncryptionCredentials, types.TableStatusArchived, types.TableStatusReplicationNotAuthorized, types.TableStatusDeleting} {
		p := newPair(t, nil)
		p.describes(p.source, func(_ int, body []byte) []byte {
			return bytes.Replace(body, []byte(`"TableStatus":"ACTIVE"`), []byte(`"TableStatus":"`+string(status)+`"`), 1)
		})
		if _, err := p.apply(""); !refuse.Is(err) || strings.Contains(err.Error(), "wait until it is ACTIVE") {
			t.Errorf("apply on %s: %v", status, err)
		}
		if _, err := p.plan(); !refuse.Is(err) || strings.Contains(err.Error(), "wait until it is ACTIVE") {
			t.Errorf("template of %s: %v", status, err)
		}
		p.wantWritten(map[string]int{})
	}
}
