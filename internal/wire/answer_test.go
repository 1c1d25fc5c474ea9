package wire_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"reseal/internal/capacity"
	"reseal/internal/jsonwalk"
	"reseal/internal/wire"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// reference reads ConsumedCapacity by encoding/json: the fields of the SDK's type have the names that DynamoDB gives them.
func reference(text []byte) (capacity.Consumed, error) {
	var list []types.ConsumedCapacity
	err := json.Unmarshal(text, &list)
	if err != nil {
		list = make([]types.ConsumedCapacity, 1)
		err = json.Unmarshal(text, &list[0])
	}
	return capacity.Units(list...), err
}

// TestConsumed: what DynamoDB may send is read as encoding/json does.
func TestConsumed(t *testing.T) {
	for _, text := range []string{
		`{"TableName":"t","CapacityUnits":1.5}`,
		`[{"TableName":"t","CapacityUnits":25,"Table":{"CapacityUnits":25}}]`,
		`[{"CapacityUnits":75,"Table":{"CapacityUnits":25},"GlobalSecondaryIndexes":{"g":{"CapacityUnits":26}},"LocalSecondaryIndexes":{"l":{"CapacityUnits":24,"x":[1,{}]}}}]`,
		`[]`, `null`, `[null]`, `{}`, `[{"CapacityUnits":null,"Table":null,"GlobalSecondaryIndexes":null,"LocalSecondaryIndexes":{"l":null}}]`,
		`[{"CapacityUnits":1},{"CapacityUnits":2}]`, `[{"CapacityUnits":1e3}]`,
	} {
		r := jsonwalk.Reader{Data: []byte(text)}
		got, err := wire.Consumed(&r)
		want, wantErr := reference([]byte(text))
		if err != nil || wantErr != nil || r.End() != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v, %v", text, got, err, want, wantErr)
		}
	}
}

func TestConsumedMalformed(t *testing.T) {
	for _, text := range []string{``, `"x"`, `7`, `[7]`, `{"CapacityUnits":"1"}`, `{"CapacityUnits":[]}`, `{"CapacityUnits":1e999}`, `{"CapacityUnits":NaN}`, `{"Table":1}`, `{"GlobalSecondaryIndexes":[]}`, `[{]`} {
		r := jsonwalk.Reader{Data: []byte(text)}
		if got, err := wire.Consumed(&r); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
