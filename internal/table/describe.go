package table

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"reseal/internal/call"
	"reseal/internal/item"
	"reseal/internal/refuse"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// DescribeAPI is the DynamoDB call that this package makes.
type DescribeAPI interface {
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
}

// Info is what reseal needs to know of a table.
type Info struct {
	Side   string // "source" or "target", for messages; "table": the only one of a job
	Name   string
	Sent   string // what DescribeTable was asked for: a name or an ARN
	ARN    string
	ID     string    // TableId, another one for each table ever created; "" where the engine has none
	Made   time.Time // CreationDateTime
	Schema item.Schema
	Items  int64 // ItemCount: up to six hours old on AWS
	Bytes  int64 // TableSizeBytes: likewise
	Raw    *types.TableDescription
	Clock  call.Clock // of the service that described it: what expires, and how old something is, goes by it
}

// Describe reads a table's description and makes sure that it is of the table that was asked for: see checkPlace. name is a name or an
// ARN. Its errors are *refuse.Error, but for the context's own.
func Describe(ctx context.Context, api DescribeAPI, side, name string) (Info, error) {
	const patience = 30 * time.Second
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := api.DescribeTable(limited, &dynamodb.DescribeTableInput{TableName: &name})
	if err != nil {
		if ctx.Err() != nil {
			return Info{}, ctx.Err()
		}
		return Info{}, describeError(err, side, name)
	}
	if out.Table == nil {
		return Info{}, refuse.New("check the endpoint URL: it doesn't answer as DynamoDB does", "%s has no description", called(side, name))
	}
	schema, err := item.SchemaOf(out.Table)
	if err != nil {
		return Info{}, refuse.Because(err, "check the endpoint URL: it doesn't answer as DynamoDB does", "the keys of %s can't be read (%s)", called(side, name), oneLine(err))
	}
	info := Info{
		Side:   side,
		Sent:   name,
		Name:   aws.ToString(out.Table.TableName),
		ARN:    aws.ToString(out.Table.TableArn),
		ID:     aws.ToString(out.Table.TableId),
		Made:   aws.ToTime(out.Table.CreationDateTime),
		Schema: schema,
		Items:  aws.ToInt64(out.Table.ItemCount),
		Bytes:  aws.ToInt64(out.Table.TableSizeBytes),
		Raw:    out.Table,
		Clock:  call.ClockOf(out.ResultMetadata),
	}
	if err := checkPlace(api, info); err != nil {
		return Info{}, err
	}
	if err := checkStreamOf(info); err != nil {
		return Info{}, err
	}
	return info, nil
}

// OnlyTable is the side of a job's only table, and the Name of its Side.
const OnlyTable = "table"

// called names a table in a message.
func called(side, name string) string {
	if side == OnlyTable {
		return fmt.Sprintf("the table %q", name)
	}
	return fmt.Sprintf("the %s table %q", side, name)
}

func describeError(err error, side, name string) error {
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		return refuse.Because(err, "check its name, Region and account", "%s does not exist", called(side, name))
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		if denial, is := call.DeniedBy(err); is && denial.Key != call.KeyFine {
			return refuse.Because(err, denial.Remedy(), "access to %s is denied: %s", called(side, name), denial)
		} else if is && denial.Explicit {
			return refuse.Because(err, denial.Remedy(), "access to %s is denied by a policy (dynamodb:DescribeTable)", called(side, name))
		}
		switch api.ErrorCode() {
		case "AccessDeniedException":
			return refuse.Because(err, "allow dynamodb:DescribeTable and what else the README lists", "access to %s is denied", called(side, name))
		case "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException", "IncompleteSignatureException":
			return refuse.Because(err, "check or renew them", "AWS does not accept the credentials for %s (%s)", called(side, name), api.ErrorCode())
		}
	}
	var network net.Error
	if errors.As(err, &network) {
		return refuse.Because(err, "check the endpoint URL, the Region and the network", "%s can't be reached (%s)", called(side, name), oneLine(err))
	}
	return refuse.Because(err, "see the DynamoDB API reference for this answer", "%s can't be described (%s)", called(side, name), oneLine(err))
}

// Encryption is how the table is encrypted: "KMS", or "AWS_OWNED" where it has nothing but DynamoDB's default.
func (i Info) Encryption() string {
	sse := i.Raw.SSEDescription
	if sse != nil && sse.SSEType == types.SSETypeKms && (sse.Status == types.SSEStatusEnabled || sse.Status == types.SSEStatusUpdating) {
		return "KMS"
	}
	return "AWS_OWNED"
}

// StreamARN is the ARN of the table's stream; "" where it has none that is on.
func (i Info) StreamARN() string {
	if spec := i.Raw.StreamSpecification; spec == nil || !aws.ToBool(spec.StreamEnabled) {
		return ""
	}
	return aws.ToString(i.Raw.LatestStreamArn)
}

// StreamView is what the table's stream records hold; "" without a stream.
func (i Info) StreamView() types.StreamViewType {
	if i.StreamARN() == "" {
		return ""
	}
	return i.Raw.StreamSpecification.StreamViewType
}

// Identity tells one table from any other that ever had its name.
type Identity struct {
	ARN  string `json:"arn"`
	ID   string `json:"id,omitempty"`
	Made string `json:"created"` // RFC 3339, UTC
}

// Identity returns the table's identity.
func (i Info) Identity() Identity {
	return Identity{ARN: i.ARN, ID: i.ID, Made: i.Made.UTC().Format(time.RFC3339)}
}

func (id Identity) String() string { return id.ARN + " created " + id.Made }
