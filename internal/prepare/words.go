package prepare

import (
	"fmt"

	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Notes says what of the source a target made by prepare doesn't have, a line each.
func Notes(source Table, byTemplate bool) []string {
	var notes []string
	for _, one := range source.Unchecked() {
		notes = append(notes, "not checked on the source, so not made: "+one)
	}
	for _, name := range source.Deleting {
		notes = append(notes, "index "+name+" is being deleted on the source, so it is not made")
	}
	for _, scalable := range source.Scaling.Value {
		where := "the table"
		if scalable.Index != "" {
			where = "index " + scalable.Index
		}
		if !byTemplate {
			notes = append(notes, fmt.Sprintf("autoscaling (%s of %s) is made by the template only", scalable.Dimension, where))
			continue
		}
		for _, left := range scalable.Left {
			notes = append(notes, fmt.Sprintf("autoscaling (%s of %s): %s", scalable.Dimension, where, left))
		}
	}
	for _, tag := range source.Tags.Value {
		if byTemplate && (isDynamic(aws.ToString(tag.Key)) || isDynamic(aws.ToString(tag.Value))) {
			notes = append(notes, fmt.Sprintf("tag %q is left out: CloudFormation would resolve it", aws.ToString(tag.Key)))
		}
	}
	notes = append(notes, source.throughputNotes()...)
	for _, index := range source.Raw.VectorIndexes {
		notes = append(notes, "vector index "+aws.ToString(index.IndexName)+" is not made")
	}
	if len(source.Raw.Replicas) > 0 {
		notes = append(notes, "the source is a global table; the target is in one Region")
	}
	return append(notes, "the target has no stream of its own; give it one before the cutover if the source's has other readers",
		"not looked at: resource policies, Kinesis destinations, contributor insights, warm throughput, scheduled scaling")
}

// throughputNotes say where the target's capacity isn't what the source's description has.
func (t Table) throughputNotes() []string {
	if !t.isProvisioned() {
		return nil
	}
	var notes []string
	limited := t.Raw.OnDemandThroughput != nil
	for _, index := range t.Raw.GlobalSecondaryIndexes {
		limited = limited || index.OnDemandThroughput != nil
		if p := index.ProvisionedThroughput; p == nil || aws.ToInt64(p.ReadCapacityUnits) == 0 {
			notes = append(notes, "index "+aws.ToString(index.IndexName)+" tells no provisioned capacity; the target's gets that of the table")
		}
	}
	if limited {
		notes = append(notes, "limits of a table on demand are left out: the source is provisioned")
	}
	return notes
}

// notes are those of a template.
func (o Options) notes() []string {
	notes := Notes(o.Source, true)
	if o.Unseen != "" {
		notes = append([]string{"not checked whether the target is there, so its capacity is the source's: " + o.Unseen}, notes...)
	}
	return notes
}

// onTable is a command of the aws program on the source.
func (s stack) onTable(command, options string) string {
	return "aws dynamodb " + command + " --table-name " + s.From.TableName(s.Source.Name, s.Source.ARN) + options + s.From.AWSOptions(s.Source.ARN, true)
}

// deploy is the command that deploys the template, in the target's account and Region.
func (s stack) deploy(options ...string) []string {
	first := "aws cloudformation deploy --stack-name STACK --template-file FILE"
	if s.size > mostInline {
		first += " --s3-bucket BUCKET"
	}
	lines := []string{"  " + first + s.To.AWSOptions(s.Source.ARN, false)} // the stack is where the source is: see OneStack
	for _, one := range options {
		lines[len(lines)-1] += " \\"
		lines = append(lines, "    "+one)
	}
	return lines
}

// credentials says whose credentials the printed commands need, where the aws program has no option for that.
func credentials(ways ...table.Way) []string {
	var lines []string
	for _, way := range ways {
		if way.RoleARN != "" {
			lines = append(lines, "The aws program has no option for a role: run its commands on the "+way.Name+" with the credentials of", "  "+way.RoleARN)
		}
	}
	return lines
}

// enableCommand enables the source's stream.
func (s stack) enableCommand() string {
	return s.onTable("update-table", " --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES")
}

// streamLines say what to change on the source.
func (s stack) streamLines() []string {
	switch view := s.Source.StreamView(); {
	case s.Source.hasNewImages():
		return []string{"Nothing is to be changed on the source: its stream is on, with new images (" + string(view) + ")."}
	case view != "":
		return []string{
			"The stream of the source is " + string(view) + " and has no new images. Its view can't be changed: disable it, when its",
			"readers don't need it any more, and enable one with new images:",
			"  " + s.onTable("update-table", " --stream-specification StreamEnabled=false"),
			"  " + s.enableCommand(),
		}
	}
	return []string{"The source has no stream. Enable it:", "  " + s.enableCommand()}
}

// change is what stage 1 prints.
func (s stack) change() string {
	lines := append([]string{"Stage 1 (prepare): the source table " + s.Source.ARN + ".", ""}, s.streamLines()...)
	if s.Source.hasNewImages() {
		return comment(append(lines, "Go on with --stage 2.")...) + "\n"
	}
	lines = append(lines, credentials(s.From)...)
	lines = append(lines, "or, if a stack owns the table, add to its properties there:")
	return comment(lines...) + "\nStreamSpecification:\n  StreamViewType: NEW_AND_OLD_IMAGES\n"
}

// head is the comment at the top of a template.
func (s stack) head() string {
	tables := table.JobOptions(s.From, s.To)
	var lines []string
	switch s.Stage {
	case StageSeed:
		lines = append([]string{"Stage 2 (seed): the target, encrypted, and the replicator that applies the source's changes to it.", ""}, s.streamLines()...)
		lines = append(lines, "Then deploy this:")
		lines = append(lines, s.deploy("--capabilities CAPABILITY_IAM", "--parameter-overrides CodeBucket=BUCKET CodeKey=replicator-arm64.zip"+s.streamParameter())...)
		lines = append(lines, "and when that is done, copy and compare:", "  reseal seed"+tables, "  reseal verify"+tables)
	case StageCutOver:
		lines = append([]string{
			"Stage 3 (cut over): as stage 2, and the target's name and ARN are exported for the stack of the application to import.",
			"Deploy it over stage 2:",
		}, s.deploy("--capabilities CAPABILITY_IAM")...)
		lines = append(
			lines,
			"Then have the writers go over, by a command of yours:",
			"  reseal cutover"+tables+" --on-ready COMMAND",
		)
	case StageRetire:
		lines = append([]string{"Stage 4 (retire): the target without the replicator. Deploy it over stage 3 when the writers have gone over:"}, s.deploy()...)
		lines = append(lines, "The target and its key stay, here and when the stack is deleted. See whether the source can go; --apply deletes it, after a backup:")
		retire := "  reseal retire" + table.OneOptions("source", s.From)
		if aws.ToBool(s.Source.Raw.DeletionProtectionEnabled) {
			retire += " --disable-deletion-protection"
		}
		lines = append(lines, retire)
	}
	if s.size > mostInline {
		lines = append(lines, fmt.Sprintf("The template has more than the %d bytes that CloudFormation takes with the request: aws puts it into BUCKET first.", mostInline))
	}
	lines = append(lines, credentials(s.From, s.To)...)
	lines = append(lines, "", "Other than on the source:")
	for _, note := range s.notes() {
		lines = append(lines, "  - "+note)
	}
	return comment(append([]string{"Made by reseal prepare from the table " + s.Source.ARN + ".", ""}, lines...)...)
}

func (s stack) streamParameter() string {
	if s.Source.hasNewImages() {
		return ""
	}
	return " SourceStreamArn=ARN"
}
