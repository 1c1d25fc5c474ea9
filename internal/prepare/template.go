package prepare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"reseal/internal/refuse"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The stages of a move, and what Template makes for each.
const (
	StagePrepare = 1 // the change of the source: its stream
	StageSeed    = 2 // the stack with the target and the replicator, for the time until the cutover
	StageCutOver = 3 // the same, with the target's name for the stack of the application to import
	StageRetire  = 4 // without the replicator
)

// Options say what to make a template of.
type Options struct {
	Source Table
	Target string                  // the target's name
	Live   *types.TableDescription // the target, if it is there already
	Unseen string                  // why the target could not be looked at; "": it was
	KMSKey string                  // the target's key: id, ARN or alias; "": a new one
	Stage  int                     // 0: StageSeed
	// KeepBack adds a stream of the target, and a replicator to the source that is off: for a way back.
	KeepBack bool

	From, To table.Way // how source and target are reached, for the commands that the template's comments have
}

// PlanOptions say which tables to make a template for.
type PlanOptions struct {
	Source      ReadAPI
	SourceTable string            // name or ARN
	Scaling     ScalingAPI        // of the source; may be nil
	NoScaling   string            // why Scaling is nil
	Target      table.DescribeAPI // asked for its provisioned capacity only; it need not be there
	TargetTable string            // name or ARN
	TargetName  string            // for the template
	KMSKey      string            // see Options
	Stage       int               // see Options
	KeepBack    bool              // see Options
	From, To    table.Way         // see Options
}

// Planned is what a template was made of.
type Planned struct {
	Source   string   `json:"source"`
	Target   string   `json:"target"`
	Stage    int      `json:"stage"`
	Template string   `json:"template"`
	Notes    []string `json:"notes"` // what the target has not of the source, and what was not checked
}

// Plan reads the live source and makes the template of a stage. It writes nothing. Its errors are *refuse.Error, but for the context's
// own.
func Plan(ctx context.Context, o PlanOptions) (Planned, error) {
	source, err := Read(ctx, o.Source, o.Scaling, "source", o.SourceTable)
	if err != nil {
		return Planned{}, err
	}
	source.whyNoScaling(o.NoScaling)
	options := Options{Source: source, Target: o.TargetName, KMSKey: o.KMSKey, Stage: cmp.Or(o.Stage, StageSeed), KeepBack: o.KeepBack, From: o.From, To: o.To}
	if source.isProvisioned() {
		target, err := table.Describe(ctx, o.Target, "target", o.TargetTable)
		switch missing := (*types.ResourceNotFoundException)(nil); {
		case ctx.Err() != nil:
			return Planned{}, ctx.Err()
		case err != nil && !errors.As(err, &missing):
			options.Unseen = err.Error()
		}
		options.Live = target.Raw
	}
	template, err := Template(options)
	if err != nil {
		return Planned{}, err
	}
	return Planned{Source: o.SourceTable, Target: o.TargetTable, Stage: options.Stage, Template: template, Notes: options.notes()}, nil
}

// OneStack refuses tables that can't be joined by one stack: the replicator reads and writes in its own account and Region. Of a table
// that was given by its name, the account is that of its side's credentials. Its errors are *refuse.Error, but for the context's own.
func OneStack(ctx context.Context, source, target *table.Handle) error {
	remedy := `create the target with --apply, and run "reseal replicate" instead of the stack's replicator`
	if from, to := source.Config.Region, target.Config.Region; from != to {
		return refuse.New(remedy, "the source is in Region %s and the target in %s, which no stack can join", from, to)
	}
	if source.Ref.Account == "" && target.Ref.Account == "" && source.SameCaller(target) || source.LocalEndpoint() != nil && target.LocalEndpoint() != nil {
		return nil
	}
	var accounts [2]string
	for i, side := range []*table.Handle{source, target} {
		account, err := side.Account(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return refuse.Because(err, "give the tables by their ARNs", "it is not known in which account the %s is (%s)", side.Side.Name, err)
		}
		accounts[i] = account
	}
	if accounts[0] != accounts[1] {
		return refuse.New(remedy, "the source is in account %s and the target in %s, which no stack can join", accounts[0], accounts[1])
	}
	return nil
}

// stack is one Template.
type stack struct {
	Options
	key  kmsKey
	size int // of the template without its head, in bytes; 0: not known yet
}

// What CloudFormation takes (user guide, "CloudFormation quotas": template body size).
const (
	mostInline = 51_200    // bytes in the request
	mostByS3   = 1_048_576 // bytes from a bucket
)

// Template returns the CloudFormation template (or, for StagePrepare, the part of one) for a stage, in YAML with comments. Its errors
// are *refuse.Error.
func Template(o Options) (string, error) {
	key, err := newKey(o.KMSKey)
	if err != nil {
		return "", err
	}
	o.Stage = cmp.Or(o.Stage, StageSeed)
	s := stack{Options: o, key: key}
	if err := s.check(); err != nil {
		return "", err
	}
	switch o.Stage {
	case StagePrepare:
		return s.change(), nil
	case StageSeed, StageCutOver:
		resources := append(s.targetResources(), s.replicatorResources()...)
		if s.KeepBack {
			resources = append(resources, s.backResources()...)
		}
		return s.template(s.replicatorParameters(), replicatorConditions(), resources)
	case StageRetire:
		return s.template(nil, nil, s.targetResources())
	}
	return "", refuse.New("give 1, 2, 3 or 4", "stage is %d", o.Stage)
}

// isDynamic tells text that CloudFormation would put something in the place of, wherever it stands; there is no way to quote it.
func isDynamic(s string) bool { return strings.Contains(s, "{{resolve:") }

func (s stack) check() error {
	td := s.Source.Raw
	names := []string{s.Source.TimeToLive.Value}
	for _, d := range td.AttributeDefinitions {
		names = append(names, aws.ToString(d.AttributeName))
	}
	for _, index := range td.GlobalSecondaryIndexes {
		names = append(names, nonKeys(index.Projection)...)
	}
	for _, index := range td.LocalSecondaryIndexes {
		names = append(names, nonKeys(index.Projection)...)
	}
	for _, name := range names {
		if isDynamic(name) {
			return refuse.New("create the target with --apply, which makes no template", "CloudFormation can't have an attribute named %q", name)
		}
	}
	return nil
}

func nonKeys(p *types.Projection) []string {
	if p == nil {
		return nil
	}
	return p.NonKeyAttributes
}

func (s stack) template(parameters, conditions, resources []field) (string, error) {
	document := []field{
		{key: "AWSTemplateFormatVersion", value: text("2010-09-09")},
		{key: "Description", value: text(fmt.Sprintf("reseal: table %s, to take the place of %s", s.Target, s.Source.Name))},
	}
	for _, section := range []struct {
		key    string
		fields []field
	}{{"Parameters", parameters}, {"Conditions", conditions}, {"Resources", resources}, {"Outputs", s.outputs()}} {
		if len(section.fields) > 0 {
			document = append(document, field{key: section.key, value: object(section.fields...)})
		}
	}
	body, err := render("", object(document...))
	if err != nil {
		return "", err
	}
	for range 2 { // the head is longer where it has to tell of the size
		s.size = len(s.head()) + len(body)
	}
	if s.size > mostByS3 {
		return "", refuse.New("create the target with --apply, which makes no template", "the template has %d bytes, more than CloudFormation takes", s.size)
	}
	return s.head() + body, nil
}

// outputs are exported from the cutover on: that is how the stack of an application gets to its table.
func (s stack) outputs() []field {
	output := func(name, description string, value field) field {
		var export field
		if s.Stage != StageSeed {
			export = field{key: "Export", value: object(field{key: "Name", value: sub("${AWS::StackName}-" + name)})}
		}
		return field{key: name, value: object(field{key: "Description", value: word(description)}, value, export)}
	}
	value := func(kind, of string) field { return field{key: "Value", value: function(kind, of)} }
	fields := []field{
		output("TargetTableName", "Name of the target", value("!Ref", "Target")),
		output("TargetTableArn", "ARN of the target", value("!GetAtt", "Target.Arn")),
	}
	if s.key.isNew() {
		fields = append(fields, output("TargetKeyArn", "ARN of the target's key", value("!GetAtt", "TargetKey.Arn")))
	}
	if s.Stage != StageRetire {
		fields = append(fields,
			field{key: "ReplicatorName", value: object(field{key: "Description", value: word("Name of the replicator's function")}, value("!Ref", "Replicator"))},
			field{key: "ReplicatorMappingId", value: object(field{key: "Description", value: word("UUID of its event source mapping")}, value("!Ref", "ReplicatorMapping"))},
			field{key: "ReplicatorLogGroup", value: object(field{key: "Description", value: word("Name of its log group")}, value("!Ref", "ReplicatorLogs"))},
		)
	}
	return fields
}
