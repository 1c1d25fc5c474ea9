package prepare

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.yaml.in/yaml/v3"
)

// targetResources are the key, the table and its autoscaling.
func (s stack) targetResources() []field {
	var fields []field
	if s.key.isNew() {
		fields = append(fields, field{"TargetKey", s.key.resource(), comment(
			"The target's key. Whoever uses the table needs "+strings.Join(keyUse, ", "),
			"on it, by an IAM policy: the application, too, before the cutover.",
		)})
	}
	fields = append(fields, field{"Target", retained("AWS::DynamoDB::Table", s.tableProperties()), comment(
		"The target: as the source is, and encrypted. It stays when the stack is deleted.",
	)})
	before := ""
	for _, scalable := range s.Source.Scaling.Value {
		more := s.scalingResources(scalable, before)
		fields = append(fields, more...)
		before = more[len(more)-1].key
	}
	return fields
}

func (s stack) tableProperties() *yaml.Node {
	td := s.Source.Raw
	var timeToLive, backups, protection, class *yaml.Node
	if name := s.Source.TimeToLive.Value; name != "" {
		timeToLive = object(field{key: "AttributeName", value: text(name)}, field{key: "Enabled", value: truth(true)})
	}
	if r := s.Source.Recovery.Value; r.On {
		var days *yaml.Node
		if r.Days > 0 {
			days = number(int64(r.Days))
		}
		backups = object(field{key: "PointInTimeRecoveryEnabled", value: truth(true)}, field{key: "RecoveryPeriodInDays", value: days})
	}
	if aws.ToBool(td.DeletionProtectionEnabled) {
		protection = truth(true)
	}
	if s.Source.class() != types.TableClassStandard {
		class = word(string(s.Source.class()))
	}
	billing, throughput := word("PAY_PER_REQUEST"), (*yaml.Node)(nil)
	if s.Source.isProvisioned() {
		billing, throughput = word("PROVISIONED"), throughputOf(s.capacityOf(""))
	}
	unknown := func(what, why string) string {
		if why == "" {
			return ""
		}
		return comment(what + " not checked (" + why + "): set it here as it is on the source.")
	}
	return object(
		field{key: "TableName", value: text(s.Target)},
		field{key: "AttributeDefinitions", value: attributeDefinitions(td.AttributeDefinitions)},
		field{key: "KeySchema", value: keySchema(td.KeySchema)},
		field{key: "LocalSecondaryIndexes", value: localIndexes(td)},
		field{key: "GlobalSecondaryIndexes", value: s.globalIndexes()},
		field{key: "BillingMode", value: billing, comment: unknown("Autoscaling", s.Source.Scaling.Unknown)},
		field{key: "ProvisionedThroughput", value: throughput},
		field{key: "OnDemandThroughput", value: s.onDemand(td.OnDemandThroughput)},
		field{key: "TableClass", value: class},
		field{key: "DeletionProtectionEnabled", value: protection},
		field{key: "TimeToLiveSpecification", value: timeToLive},
		field{key: "PointInTimeRecoverySpecification", value: backups},
		field{key: "StreamSpecification", value: s.targetStream()},
		field{key: "SSESpecification", value: s.key.specification(), comment: joined(
			unknown("Time to live", s.Source.TimeToLive.Unknown), unknown("Point-in-time recovery", s.Source.Recovery.Unknown),
			unknown("Tags", s.Source.Tags.Unknown),
		)},
		field{key: "Tags", value: s.tags()},
	)
}

// targetStream is one for a way back. It stays when the replicators go: readers of the application's may have come to it.
func (s stack) targetStream() *yaml.Node {
	if !s.KeepBack {
		return nil
	}
	return object(field{key: "StreamViewType", value: word(string(types.StreamViewTypeNewAndOldImages))})
}

// joined joins comments, without the empty ones.
func joined(comments ...string) string {
	var given []string
	for _, one := range comments {
		if one != "" {
			given = append(given, one)
		}
	}
	return strings.Join(given, "\n")
}

func attributeDefinitions(definitions []types.AttributeDefinition) *yaml.Node {
	var nodes []*yaml.Node
	for _, d := range definitions {
		nodes = append(nodes, object(field{key: "AttributeName", value: text(aws.ToString(d.AttributeName))}, field{key: "AttributeType", value: word(string(d.AttributeType))}))
	}
	return list(nodes...)
}

func keySchema(keys []types.KeySchemaElement) *yaml.Node {
	var nodes []*yaml.Node
	for _, k := range keys {
		nodes = append(nodes, object(field{key: "AttributeName", value: text(aws.ToString(k.AttributeName))}, field{key: "KeyType", value: word(string(k.KeyType))}))
	}
	return list(nodes...)
}

func projection(p *types.Projection) *yaml.Node {
	if p == nil {
		return nil
	}
	var names []*yaml.Node
	for _, name := range p.NonKeyAttributes {
		names = append(names, text(name))
	}
	return object(field{key: "ProjectionType", value: word(string(p.ProjectionType))}, field{key: "NonKeyAttributes", value: list(names...)})
}

func localIndexes(td *types.TableDescription) *yaml.Node {
	var nodes []*yaml.Node
	for _, index := range td.LocalSecondaryIndexes {
		nodes = append(nodes, object(
			field{key: "IndexName", value: text(aws.ToString(index.IndexName))},
			field{key: "KeySchema", value: keySchema(index.KeySchema)},
			field{key: "Projection", value: projection(index.Projection)},
		))
	}
	return list(nodes...)
}

func (s stack) globalIndexes() *yaml.Node {
	var nodes []*yaml.Node
	for _, index := range s.Source.Raw.GlobalSecondaryIndexes {
		name := aws.ToString(index.IndexName)
		var throughput *yaml.Node
		if s.Source.isProvisioned() {
			throughput = throughputOf(cmp.Or(s.capacityOf(name), s.capacityOf(""))) // see Notes
		}
		nodes = append(nodes, object(
			field{key: "IndexName", value: text(name)},
			field{key: "KeySchema", value: keySchema(index.KeySchema)},
			field{key: "Projection", value: projection(index.Projection)},
			field{key: "ProvisionedThroughput", value: throughput},
			field{key: "OnDemandThroughput", value: s.onDemand(index.OnDemandThroughput)},
		))
	}
	return list(nodes...)
}

// capacityOf is the provisioned capacity of the table, or of an index: the target's if it is there, since deploying the template
// again must not take away what its autoscaling has given, and else the source's.
func (s stack) capacityOf(index string) *types.ProvisionedThroughputDescription {
	for _, td := range []*types.TableDescription{s.Live, s.Source.Raw} {
		if td == nil {
			continue
		}
		p := td.ProvisionedThroughput
		if index != "" {
			p = nil
			for _, one := range td.GlobalSecondaryIndexes {
				if aws.ToString(one.IndexName) == index {
					p = one.ProvisionedThroughput
				}
			}
		}
		if p != nil && aws.ToInt64(p.ReadCapacityUnits) > 0 {
			return p
		}
	}
	return nil
}

func throughputOf(p *types.ProvisionedThroughputDescription) *yaml.Node {
	if p == nil {
		return nil
	}
	return object(
		field{key: "ReadCapacityUnits", value: number(aws.ToInt64(p.ReadCapacityUnits))},
		field{key: "WriteCapacityUnits", value: number(aws.ToInt64(p.WriteCapacityUnits))},
	)
}

// onDemand is the most that a table on demand may serve, where a limit is set. A provisioned table may still have limits from when it
// was on demand: CreateTable refuses them there.
func (s stack) onDemand(o *types.OnDemandThroughput) *yaml.Node {
	if o == nil || s.Source.isProvisioned() {
		return nil
	}
	limit := func(units *int64) *yaml.Node {
		if aws.ToInt64(units) <= 0 { // -1: no limit
			return nil
		}
		return number(*units)
	}
	node := object(
		field{key: "MaxReadRequestUnits", value: limit(o.MaxReadRequestUnits)},
		field{key: "MaxWriteRequestUnits", value: limit(o.MaxWriteRequestUnits)},
	)
	if len(node.Content) == 0 {
		return nil
	}
	return node
}

func (s stack) tags() *yaml.Node {
	var nodes []*yaml.Node
	for _, tag := range s.Source.Tags.Value {
		if isDynamic(aws.ToString(tag.Key)) || isDynamic(aws.ToString(tag.Value)) {
			continue // notes tells of it
		}
		nodes = append(nodes, object(field{key: "Key", value: text(aws.ToString(tag.Key))}, field{key: "Value", value: text(aws.ToString(tag.Value))}))
	}
	return list(nodes...)
}

// scalingResources are a capacity's bounds and the policies that move it between them. They wait for the resource before them:
// Application Auto Scaling takes only some requests at a time, and answers "Rate exceeded" to a stack that sends dozens.
func (s stack) scalingResources(c Scalable, before string) []field {
	units, of, name := "Read", "table", "Table"
	if strings.Contains(string(c.Dimension), "Write") {
		units = "Write"
	}
	id := sub("table/${Target}")
	if c.Index != "" {
		of = "index"
		for i, index := range s.Source.Raw.GlobalSecondaryIndexes {
			if aws.ToString(index.IndexName) == c.Index {
				name = fmt.Sprintf("Index%d", i+1)
			}
		}
		id = subWith("table/${Target}/index/${Index}", "Index", c.Index)
	}
	logical := name + units + "Scaling"
	fields := []field{{logical, after("AWS::ApplicationAutoScaling::ScalableTarget", object(
		field{key: "ServiceNamespace", value: word("dynamodb")},
		field{key: "ResourceId", value: id},
		field{key: "ScalableDimension", value: word("dynamodb:" + of + ":" + units + "CapacityUnits")},
		field{key: "MinCapacity", value: number(int64(c.Min))},
		field{key: "MaxCapacity", value: number(int64(c.Max))},
	), before), ""}}
	for i, p := range c.Policies {
		seconds := func(n *int32) *yaml.Node {
			if n == nil {
				return nil
			}
			return number(int64(*n))
		}
		var keeps *yaml.Node
		if p.DisableScaleIn {
			keeps = truth(true)
		}
		policyName, before := logical+"Policy", "" // a reference to the target is enough
		if i > 0 {
			before = fields[len(fields)-1].key
			policyName += fmt.Sprint(i + 1)
		}
		fields = append(fields, field{policyName, after("AWS::ApplicationAutoScaling::ScalingPolicy", object(
			field{key: "PolicyName", value: word(policyName)},
			field{key: "PolicyType", value: word("TargetTrackingScaling")},
			field{key: "ScalingTargetId", value: ref(logical)},
			field{key: "TargetTrackingScalingPolicyConfiguration", value: object(
				field{key: "TargetValue", value: decimal(p.Percent)},
				field{key: "PredefinedMetricSpecification", value: object(field{key: "PredefinedMetricType", value: word(string(p.Metric))})},
				field{key: "ScaleInCooldown", value: seconds(p.ScaleInCooldown)},
				field{key: "ScaleOutCooldown", value: seconds(p.ScaleOutCooldown)},
				field{key: "DisableScaleIn", value: keeps},
			)},
		), before), ""})
	}
	return fields
}
