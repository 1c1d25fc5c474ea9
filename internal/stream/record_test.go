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

// TestExpired tells what time to live deleted from what an application did, however the name is spelt.
func TestExpired(t *testing.T) {
	t.Parallel()
	for identity, expired := range map[string]bool{
		`{"type":"Service","principalId":"dynamodb.amazonaws.com"}`:            true,
		`{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service","More":[1]}`: true,
		`{"type":"Service","principalId":"lambda.amazonaws.com"}`:              false,
		`{"type":"User","principalId":"dynamodb.amazonaws.com"}`:               false,
		`{"principalId":"dynamodb.amazonaws.com"}`:                             false,
		`{"type":null,"principalId":null}`:                                     false,
		`null`:                                                                 false,
	} {
		for event, image := range map[string]string{"REMOVE": "", "MODIFY": `,"NewImage":{"id":{"S":"a"}}`} {
			text := `{"Records":[{"eventName":"` + event + `","userIdentity":` + identity + `,"dynamodb":{"SequenceNumber":"1","Keys":{"id":{"S":"a"}}` + image + `}},
				{"eventName":"REMOVE","dynamodb":{"SequenceNumber":"2","Keys":{"id":{"S":"a"}}}}]}`
			found, err := ReadPage(idSchema, "arn", []byte(text))
			if err != nil || found.Unread != nil || len(found.Records) != 2 {
				t.Fatalf("%s: %+v, %v", identity, found, err)
			}
			if want := expired && event == "REMOVE"; found.Records[0].Expired != want || found.Records[1].Expired {
				t.Errorf("%s by %s: expired is %v, and %v of the next", event, identity, found.Records[0].Expired, found.Records[1].Expired)
			}
		}
	}
}
