package canned

import (
	"fmt"
	"strconv"
)

// recordsAtATime is what GetRecords returns at the most (API reference).
const recordsAtATime = 1000

// describeStream answers with the one shard, from the record 1 to the last one.
func (s *Server) describeStream() []byte {
	return fmt.Appendf(nil, `{"StreamDescription":{"StreamArn":%q,"StreamLabel":"1","StreamStatus":"ENABLED","StreamViewType":"NEW_IMAGE","TableName":"source",
"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"Shards":[{"ShardId":"shardId-00000000000000000001-00000001",
"SequenceNumberRange":{"StartingSequenceNumber":"%021d","EndingSequenceNumber":"%021d"}}]}}`, streamARN, 1, s.Items)
}

// records answers with the records from the iterator on, which is the number of those before.
func (s *Server) records(in request) ([]byte, error) {
	start, err := strconv.Atoi(in.ShardIterator)
	if err != nil {
		return nil, err
	}
	end := min(s.Items, start+recordsAtATime, start+max(1, pageBytes/s.size()))
	body := make([]byte, 0, (end-start)*(s.size()+500)+200)
	body = append(body, `{"Records":[`...)
	for i := start; i < end; i++ {
		if i > start {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"eventID":"%d","eventName":"INSERT","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"us-east-1",
"dynamodb":{"ApproximateCreationDateTime":1700000000,"SequenceNumber":"%021d","SizeBytes":%d,"StreamViewType":"NEW_IMAGE","Keys":{"k":{"S":"`, i, i+1, s.size())
		body = append(appendNumber(body, i), `"}},"NewImage":`...)
		body = append(s.appendItem(body, i), `}}`...)
	}
	body = append(body, ']')
	if end < s.Items {
		body = fmt.Appendf(body, `,"NextShardIterator":"%d"`, end)
	}
	return append(body, '}'), nil
}
