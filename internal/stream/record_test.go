package stream

import (
	"strings"
	"testing"

	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

func TestRecordsThatCanNotBeRead(t *testing.T) {
	t.Parallel()
	s := func(v string) streamtypes.AttributeValue { return &streamtypes.AttributeValueMemberS{Value: v} }
	one := "1"
	good := map[string]streamtypes.AttributeValue{"id": s("secret")}
	for _, test := range []struct {
		name   string
		record streamtypes.Record
		words  string
	}{
		{"no change", streamtypes.Record{EventName: "INSERT"}, "no change"},
		{"no sequence", streamtypes.Record{EventName: "INSERT", Dynamodb: &streamtypes.StreamRecord{Keys: good, NewImage: good}}, "no sequence number"},
		{"no keys", streamtypes.Record{EventName: "REMOVE", Dynamodb: &streamtypes.StreamRecord{SequenceNumber: &one}}, "keys"},
		{"other keys", streamtypes.Record{EventName: "REMOVE", Dynamodb: &streamtypes.StreamRecord{
			SequenceNumber: &one, Keys: map[string]streamtypes.AttributeValue{"id": &streamtypes.AttributeValueMemberN{Value: "1"}},
		}}, "keys"},
		{"unknown event", streamtypes.Record{EventName: "MOVE", Dynamodb: &streamtypes.StreamRecord{SequenceNumber: &one, Keys: good, NewImage: good}}, "MOVE"},
		{"no image", streamtypes.Record{EventName: "MODIFY", Dynamodb: &streamtypes.StreamRecord{SequenceNumber: &one, Keys: good}}, "NEW_IMAGE"},
		{"unknown type", streamtypes.Record{EventName: "MODIFY", Dynamodb: &streamtypes.StreamRecord{
			SequenceNumber: &one, Keys: good, NewImage: map[string]streamtypes.AttributeValue{"id": s("secret"), "x": &streamtypes.UnknownUnionMember{Tag: "Q"}},
		}}, "new image"},
	} {
		_, err := fromStream(idSchema, "arn", test.record)
		if err == nil || !strings.Contains(err.Error(), test.words) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error is %v, want one with %q", test.name, err, test.words)
		}
	}
}
