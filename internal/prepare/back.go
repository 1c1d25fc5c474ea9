package prepare

import (
	"go.yaml.in/yaml/v3"
)

// backResources are the replicator of the other direction, for a way back. Its mapping is off until "reseal cutover --keep-back" turns it on.
func (s stack) backResources() []field {
	return []field{
		{"BackLogs", whenDeleted("Delete", "AWS::Logs::LogGroup", object(field{key: "RetentionInDays", value: number(30)})), comment(
			"The replicator of the other direction, for a way back.",
		)},
		{"BackRole", s.backRole(), ""},
		{"Back", s.functionTo("Applies the stream of the target table to the source, for a way back (reseal)", "Back", text(s.Source.ARN)), ""},
		{"BackMapping", s.mappingFrom(attribute("Target.StreamArn"), "Back", truth(false)), comment(
			"Off, until a cutover with --keep-back turns it on: both directions at once would write older items over newer ones.",
		)},
		{"BackErrorsAlarm", alarm{
			description: "The replicator of the other direction fails: the way back is closing",
			namespace:   "AWS/Lambda", metric: "Errors", statistic: "Sum", threshold: number(0), periods: 1,
			dimension: object(field{key: "Name", value: word("FunctionName")}, field{key: "Value", value: ref("Back")}),
		}.resource(), ""},
		{"BackAgeAlarm", alarm{
			description: "The replicator of the other direction is far behind: what is older than 24 hours is lost to it",
			namespace:   "AWS/Lambda", metric: "IteratorAge", statistic: "Maximum", threshold: ref("IteratorAgeAlarmMilliseconds"), periods: 1,
			dimension: object(field{key: "Name", value: word("FunctionName")}, field{key: "Value", value: ref("Back")}),
		}.resource(), ""},
	}
}

// backRole is role, the other way round.
func (s stack) backRole() *yaml.Node {
	none := object()
	return s.roleOf([]*yaml.Node{
		allow("ReadStream", attribute("Target.StreamArn"), none, "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"),
		allow("WriteSource", text(s.Source.ARN), none, "dynamodb:BatchWriteItem", "dynamodb:DescribeTable"),
		allow("WriteLog", attribute("BackLogs.Arn"), none, "logs:CreateLogStream", "logs:PutLogEvents"),
		s.key.statement(),
		s.sourceWriteKeyStatement(),
		when("HasDeadLetterQueue", allow("HandOn", ref("DeadLetterQueueArn"), none, "sqs:GetQueueUrl", "sqs:SendMessage")),
		when("HasDeadLetterQueueKey", s.queueKeyStatement()),
		s.otherDirectionStatement(),
	})
}

// sourceWriteKeyStatement allows to write to a source with a key in KMS.
func (s stack) sourceWriteKeyStatement() *yaml.Node {
	sse := s.Source.Raw.SSEDescription
	if sse == nil || sse.KMSMasterKeyArn == nil {
		return nil
	}
	through := field{key: "StringEquals", value: object(field{key: "kms:ViaService", value: sub("dynamodb.${AWS::Region}.${AWS::URLSuffix}")})}
	return allow("WriteWithSourceKey", text(*sse.KMSMasterKeyArn), object(through), keyUse...)
}

// otherDirectionStatement allows a replicator to see whether the other one is on. Mappings can't be named as a resource when they are listed
// (service authorization reference, AWS Lambda).
func (s stack) otherDirectionStatement() *yaml.Node {
	if !s.KeepBack {
		return nil
	}
	return allow("SeeOtherDirection", text("*"), object(), "lambda:GetFunctionConfiguration", "lambda:ListEventSourceMappings")
}
