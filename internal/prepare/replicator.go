package prepare

import (
	"cmp"

	"go.yaml.in/yaml/v3"
)

// The stream keeps a record for 24 hours. The alarm goes off when a quarter of that is used up.
const (
	streamMilliseconds   = 24 * 60 * 60 * 1000
	iteratorAgeThreshold = streamMilliseconds / 4
)

// functionSeconds is the function's time-out. It ends its work some time before, and names what is left.
const functionSeconds = 60

// replicatorParameters are those of the replicator.
func (s stack) replicatorParameters() []field {
	fields := []field{
		parameter("CodeBucket", "S3 bucket of the replicator's zip, in the stack's Region", "String"),
		parameter("CodeKey", "Its key in the bucket; another key deploys another build", "String"),
	}
	if !s.Source.hasNewImages() {
		fields = append(fields, parameter("SourceStreamArn", "LatestStreamArn of the source, when its stream is enabled", "String",
			field{key: "AllowedPattern", value: text("arn:[^:]+:dynamodb:[^:]+:[0-9]{12}:table/[^/]+/stream/.+")}))
	}
	return append(
		fields,
		numeric("ParallelizationFactor", "Batches of a shard at a time; each item stays in order", 1, 1, 10),
		numeric("BatchSize", "Most records in an event", 1000, 1, 10_000),
		numeric("BatchingWindowSeconds", "How long to wait for more records", 0, 0, 300),
		numeric("MemoryMegabytes", "The function's memory, and its share of a processor with it", 512, 128, 10_240),
		numeric("IteratorAgeAlarmMilliseconds", "Age of the oldest waiting record that is an alarm; the stream keeps 86400000", iteratorAgeThreshold, 60_000, streamMilliseconds),
		parameter("AlarmTopicArn", "SNS topic that alarms go to; empty: they only show", "String", field{key: "Default", value: text("")}),
		parameter("DeadLetterQueueArn", "SQS queue for records whose items the target refuses; empty: such a record blocks its shard", "String", field{key: "Default", value: text("")}),
		parameter("DeadLetterQueueKeyArn", "KMS key of that queue, if it is encrypted with a customer managed one", "String", field{key: "Default", value: text("")}),
	)
}

func parameter(name, description, kind string, more ...field) field {
	fields := append([]field{{key: "Type", value: word(kind)}, {key: "Description", value: word(description)}}, more...)
	return field{key: name, value: object(fields...)}
}

func numeric(name, description string, standard, least, most int64) field {
	return parameter(name, description, "Number",
		field{key: "Default", value: number(standard)}, field{key: "MinValue", value: number(least)}, field{key: "MaxValue", value: number(most)})
}

func replicatorConditions() []field {
	given := func(name string) *yaml.Node {
		return tagged("!Not", tagged("!Equals", ref(name), text("")))
	}
	return []field{
		{key: "HasAlarmTopic", value: given("AlarmTopicArn")},
		{key: "HasDeadLetterQueue", value: given("DeadLetterQueueArn")},
		{key: "HasDeadLetterQueueKey", value: given("DeadLetterQueueKeyArn")},
	}
}

// streamARN is the live stream's, or a parameter.
func (s stack) streamARN() *yaml.Node {
	if s.Source.hasNewImages() {
		return text(s.Source.StreamARN())
	}
	return ref("SourceStreamArn")
}

// replicatorResources are the function that applies the stream, what it needs, and what watches it.
func (s stack) replicatorResources() []field {
	fields := []field{
		{"ReplicatorLogs", whenDeleted("Delete", "AWS::Logs::LogGroup", object(field{key: "RetentionInDays", value: number(30)})), comment(
			"The replicator. Its log holds no keys and no items.",
		)},
		{"ReplicatorRole", s.role(), ""},
		{"Replicator", s.function(), ""},
		{"ReplicatorMapping", s.mapping(), comment(
			"Every record from the oldest on, none ever skipped: what fails comes again, until it is applied or the stream",
			"has dropped it after 24 hours. The alarms are there to prevent that.",
		)},
	}
	return append(fields, s.alarms()...)
}

// role allows what the replicator and its event source mapping do, on exactly what they do it with.
func (s stack) role() *yaml.Node {
	none := object()
	return s.roleOf([]*yaml.Node{
		// The list is that of the DynamoDB developer guide, "IAM policy to allow an AWS Lambda function to access DynamoDB stream records".
		allow("ReadStream", s.streamARN(), none, "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"),
		allow("WriteTarget", attribute("Target.Arn"), none, "dynamodb:BatchWriteItem", "dynamodb:DescribeTable"),
		allow("WriteLog", attribute("ReplicatorLogs.Arn"), none, "logs:CreateLogStream", "logs:PutLogEvents"),
		s.key.statement(),
		s.sourceKeyStatement(),
		when("HasDeadLetterQueue", allow("HandOn", ref("DeadLetterQueueArn"), none, "sqs:GetQueueUrl", "sqs:SendMessage")),
		when("HasDeadLetterQueueKey", s.queueKeyStatement()),
		s.otherDirectionStatement(),
	})
}

func (s stack) roleOf(statements []*yaml.Node) *yaml.Node {
	assume := object(
		field{key: "Effect", value: word("Allow")},
		field{key: "Principal", value: object(field{key: "Service", value: word("lambda.amazonaws.com")})},
		field{key: "Action", value: word("sts:AssumeRole")},
	)
	return resource("AWS::IAM::Role", object(
		field{key: "AssumeRolePolicyDocument", value: policy(assume)},
		field{key: "Policies", value: list(object(
			field{key: "PolicyName", value: word("replicate")},
			field{key: "PolicyDocument", value: policy(statements...)},
		))},
	))
}

// sourceKeyStatement allows to read the stream of a source with a key in KMS: the stream is encrypted with it, too.
func (s stack) sourceKeyStatement() *yaml.Node {
	sse := s.Source.Raw.SSEDescription
	if sse == nil || sse.KMSMasterKeyArn == nil {
		return nil
	}
	through := field{key: "StringEquals", value: object(field{key: "kms:ViaService", value: sub("dynamodb.${AWS::Region}.${AWS::URLSuffix}")})}
	return allow("ReadWithSourceKey", text(*sse.KMSMasterKeyArn), object(through), "kms:Decrypt", "kms:DescribeKey")
}

// queueKeyStatement allows what a sender to an encrypted queue needs (SQS developer guide, "Key management": producers).
func (s stack) queueKeyStatement() *yaml.Node {
	through := field{key: "StringEquals", value: object(field{key: "kms:ViaService", value: sub("sqs.${AWS::Region}.${AWS::URLSuffix}")})}
	return allow("UseQueueKey", ref("DeadLetterQueueKeyArn"), object(through), "kms:Decrypt", "kms:GenerateDataKey")
}

func (s stack) function() *yaml.Node {
	return s.functionTo("Applies the stream of the source table to the target (reseal)", "Replicator", ref("Target"))
}

// functionTo is a replicator that writes to a table. name is the beginning of the names of its role and log.
func (s stack) functionTo(description, name string, target *yaml.Node) *yaml.Node {
	var other *yaml.Node
	if s.KeepBack {
		other = word("refuse")
	}
	return resource("AWS::Lambda::Function", object(
		field{key: "Description", value: word(description)},
		field{key: "Runtime", value: word("provided.al2023")},
		field{key: "Architectures", value: words("arm64")},
		field{key: "Handler", value: word("bootstrap")},
		field{key: "Code", value: object(field{key: "S3Bucket", value: ref("CodeBucket")}, field{key: "S3Key", value: ref("CodeKey")})},
		field{key: "Role", value: attribute(name + "Role.Arn")},
		field{key: "MemorySize", value: ref("MemoryMegabytes")},
		field{key: "Timeout", value: number(functionSeconds)},
		field{key: "LoggingConfig", value: object(field{key: "LogGroup", value: ref(name + "Logs")})},
		field{key: "Environment", value: object(field{key: "Variables", value: object(
			field{key: "RESEAL_TARGET_TABLE", value: target},
			field{key: "RESEAL_OTHER_DIRECTION", value: other},
			field{key: "RESEAL_ON_POISON", value: tagged("!If", word("HasDeadLetterQueue"), word("dead-letter"), word("block"))},
			field{key: "RESEAL_DEAD_LETTER_QUEUE_ARN", value: when("HasDeadLetterQueue", ref("DeadLetterQueueArn"))},
		)})},
	))
}

func (s stack) mapping() *yaml.Node { return s.mappingFrom(s.streamARN(), "Replicator", nil) }

// mappingFrom has a function get a stream; enabled is nil for what is on.
func (s stack) mappingFrom(stream *yaml.Node, function string, enabled *yaml.Node) *yaml.Node {
	return resource("AWS::Lambda::EventSourceMapping", object(
		field{key: "FunctionName", value: attribute(function + ".Arn")},
		field{key: "Enabled", value: enabled},
		field{key: "EventSourceArn", value: stream},
		field{key: "StartingPosition", value: word("TRIM_HORIZON")},
		field{key: "FunctionResponseTypes", value: words("ReportBatchItemFailures")},
		field{key: "BisectBatchOnFunctionError", value: truth(true)},
		field{key: "MaximumRetryAttempts", value: number(-1)},
		field{key: "MaximumRecordAgeInSeconds", value: number(-1)},
		field{key: "BatchSize", value: ref("BatchSize")},
		field{key: "MaximumBatchingWindowInSeconds", value: ref("BatchingWindowSeconds")},
		field{key: "ParallelizationFactor", value: ref("ParallelizationFactor")},
		field{key: "MetricsConfig", value: object(field{key: "Metrics", value: words("EventCount")})},
	))
}

// alarm is what CloudWatch watches.
type alarm struct {
	description, namespace, metric, statistic string
	dimension, threshold                      *yaml.Node
	comparison, missing                       string // "": GreaterThanThreshold, notBreaching
	periods                                   int64  // of five minutes each
}

func (a alarm) resource() *yaml.Node {
	return resource("AWS::CloudWatch::Alarm", object(
		field{key: "AlarmDescription", value: word(a.description)},
		field{key: "Namespace", value: word(a.namespace)},
		field{key: "MetricName", value: word(a.metric)},
		field{key: "Dimensions", value: list(a.dimension)},
		field{key: "Statistic", value: word(a.statistic)},
		field{key: "Period", value: number(300)},
		field{key: "EvaluationPeriods", value: number(a.periods)},
		field{key: "ComparisonOperator", value: word(cmp.Or(a.comparison, "GreaterThanThreshold"))},
		field{key: "Threshold", value: a.threshold},
		field{key: "TreatMissingData", value: word(cmp.Or(a.missing, "notBreaching"))},
		field{key: "AlarmActions", value: when("HasAlarmTopic", list(ref("AlarmTopicArn")))},
	))
}

// alarms watch the replicator. A record that it can't apply is no error of the function, which names it in its answer: the
// function's own metric tells of those. IteratorAge comes with an event only: it is missing, not high, when Lambda can't poll (the
// mapping is disabled, the role or a key is gone), and also when the application writes nothing. PolledEventCount is 0 for a poll that
// finds nothing (Lambda developer guide, "Event source mapping metrics"), so where it is missing nobody polls.
func (s stack) alarms() []field {
	dimension := func(name string, value *yaml.Node) *yaml.Node {
		return object(field{key: "Name", value: word(name)}, field{key: "Value", value: value})
	}
	function, table := dimension("FunctionName", ref("Replicator")), dimension("TargetTable", ref("Target"))
	return []field{
		{"IteratorAgeAlarm", alarm{
			description: "The replicator is far behind: what is older than 24 hours is lost to it",
			namespace:   "AWS/Lambda", metric: "IteratorAge", statistic: "Maximum", dimension: function, threshold: ref("IteratorAgeAlarmMilliseconds"), periods: 1,
		}.resource(), ""},
		{"NotPollingAlarm", alarm{
			description: "Lambda has not read the stream for a quarter of an hour: look at the mapping's state, the role and the keys",
			namespace:   "AWS/Lambda", metric: "PolledEventCount", statistic: "Sum", dimension: dimension("EventSourceMappingUUID", ref("ReplicatorMapping")),
			threshold: number(0), comparison: "LessThanThreshold", missing: "breaching", periods: 3,
		}.resource(), comment("A count is never below 0: this one goes off when there is none. A poll that finds nothing counts 0.")},
		{"ErrorsAlarm", alarm{
			description: "The replicator fails",
			namespace:   "AWS/Lambda", metric: "Errors", statistic: "Sum", dimension: function, threshold: number(0), periods: 1,
		}.resource(), ""},
		{"NotAppliedAlarm", alarm{
			description: "For a quarter of an hour there have been records that the replicator can't apply: see its log",
			namespace:   "reseal", metric: "Failures", statistic: "Sum", dimension: table, threshold: number(0), periods: 3,
		}.resource(), ""},
		{"DeadLetteredAlarm", alarm{
			description: "The target refuses items, which are older there than on the source: their keys are in the dead-letter queue",
			namespace:   "reseal", metric: "DeadLettered", statistic: "Sum", dimension: table, threshold: number(0), periods: 1,
		}.resource(), ""},
	}
}
