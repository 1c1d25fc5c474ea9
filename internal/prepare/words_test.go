package prepare_test

import (
	"slices"
	"strings"
	"testing"

	"reseal/internal/prepare"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// commands are the lines of a template's comments that are to be typed.
func commands(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#"))
		if strings.HasPrefix(line, "aws ") || strings.HasPrefix(line, "reseal ") {
			list = append(list, line)
		}
	}
	return list
}

// What is printed reaches the same tables wherever it is run: a namesake in another account or Region must not be changed, and least of
// all deleted.
func TestPrintedCommands(t *testing.T) {
	t.Parallel()
	from := table.Way{Side: table.Side{Name: "source", Table: "cities", Profile: "old account", Region: "eu-west-1", EndpointURL: "https://vpce.example"}}
	to := table.Way{Side: table.Side{Name: "target", Table: "twin", Profile: "old account", RoleARN: "arn:aws:iam::111122223333:role/deploy"}}
	const onSource = " --table-name " + sourceARN
	const way = " --region eu-west-1 --profile 'old account' --endpoint-url https://vpce.example"
	const both = " --source cities --target twin --source-region eu-west-1 --profile 'old account' --source-endpoint-url https://vpce.example --target-role-arn arn:aws:iam::111122223333:role/deploy"
	const deploy = "aws cloudformation deploy --stack-name STACK --template-file FILE --region eu-west-1 --profile 'old account'"
	enable := "aws dynamodb update-table" + onSource + " --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES" + way
	protected := described(types.StreamViewTypeNewImage)
	protected.Raw.DeletionProtectionEnabled = aws.Bool(true)
	for name, test := range map[string]struct {
		source prepare.Table
		stage  int
		want   []string
	}{
		"no stream":         {described(""), prepare.StagePrepare, []string{enable}},
		"a view of no use":  {described(types.StreamViewTypeKeysOnly), prepare.StagePrepare, []string{"aws dynamodb update-table" + onSource + " --stream-specification StreamEnabled=false" + way, enable}},
		"seed":              {described(types.StreamViewTypeNewImage), prepare.StageSeed, []string{deploy + ` \`, "reseal seed" + both, "reseal verify" + both}},
		"cut over":          {described(types.StreamViewTypeNewImage), prepare.StageCutOver, []string{deploy + ` \`, "reseal cutover" + both + " --on-ready COMMAND"}},
		"retire":            {described(types.StreamViewTypeNewImage), prepare.StageRetire, []string{deploy, "reseal retire --source cities" + way}},
		"retire, protected": {protected, prepare.StageRetire, []string{deploy, "reseal retire --source cities" + way + " --disable-deletion-protection"}},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := prepare.Template(prepare.Options{Source: test.source, Target: "twin", Stage: test.stage, From: from, To: to})
			if err != nil {
				t.Fatal(err)
			}
			if got := commands(text); !slices.Equal(got, test.want) {
				t.Errorf("it prints\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
			if test.stage != prepare.StagePrepare && !strings.Contains(text, to.RoleARN) {
				t.Error("nothing is said of the role")
			}
		})
	}
}
