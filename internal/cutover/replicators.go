package cutover

import (
	"context"
	"fmt"
	"time"

	"reseal/internal/call"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// LambdaAPI is what is asked of AWS Lambda; *lambda.Client has it.
type LambdaAPI interface {
	lambda.ListEventSourceMappingsAPIClient
	GetFunctionConfiguration(context.Context, *lambda.GetFunctionConfigurationInput, ...func(*lambda.Options)) (*lambda.GetFunctionConfigurationOutput, error)
	GetEventSourceMapping(context.Context, *lambda.GetEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.GetEventSourceMappingOutput, error)
	UpdateEventSourceMapping(context.Context, *lambda.UpdateEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.UpdateEventSourceMappingOutput, error)
}

// Mapping is an event source mapping from the source's stream to a function that replicates to the target.
type Mapping struct {
	UUID     string `json:"uuid"`
	Function string `json:"function"` // ARN
	Role     string `json:"role"`     // ARN of the principal that writes to the target
}

// Mappings returns the mappings of a stream that are on, of functions that replicate to the target; and the functions of the others.
func Mappings(ctx context.Context, api LambdaAPI, stream string, target table.Info) (ours []Mapping, others []string, err error) {
	ours, _, others, err = AllMappings(ctx, api, stream, target)
	return ours, others, err
}

// AllMappings is Mappings, with those that are off, too.
func AllMappings(ctx context.Context, api LambdaAPI, stream string, target table.Info) (on, off []Mapping, others []string, err error) {
	pages := lambda.NewListEventSourceMappingsPaginator(api, &lambda.ListEventSourceMappingsInput{EventSourceArn: &stream})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("list event source mappings: %w", err)
		}
		for _, one := range page.EventSourceMappings {
			role, err := writesTo(ctx, api, aws.ToString(one.FunctionArn), target)
			mapping := Mapping{UUID: aws.ToString(one.UUID), Function: aws.ToString(one.FunctionArn), Role: role}
			switch isOff := isOff(aws.ToString(one.State)); {
			case err != nil && isOff: // who it is of is of no consequence
			case err != nil:
				return nil, nil, nil, err
			case role == "" && !isOff:
				others = append(others, mapping.Function)
			case role != "" && isOff:
				off = append(off, mapping)
			case role != "":
				on = append(on, mapping)
			}
		}
	}
	return on, off, others, nil
}

// isOff tells of a mapping's state (API reference, EventSourceMappingConfiguration) whether it polls no more. One that is being disabled may
// still have a batch under way.
func isOff(state string) bool { return state == "Disabled" }

// writesTo returns who writes to the target for a function that is reseal's replicator; "" for another function. See cmd/replicator for
// the environment that it goes by.
func writesTo(ctx context.Context, api LambdaAPI, function string, target table.Info) (string, error) {
	out, err := api.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &function})
	if err != nil {
		return "", fmt.Errorf("get configuration of function %s: %w", function, err)
	}
	if out.Environment == nil {
		return "", nil
	}
	variables := out.Environment.Variables
	if to := variables["RESEAL_TARGET_TABLE"]; to != target.ARN && to != target.Name {
		return "", nil
	}
	if role := variables["RESEAL_TARGET_ROLE_ARN"]; role != "" {
		return role, nil
	}
	return aws.ToString(out.Role), nil
}

// disableInterval is the time between two looks at a mapping that is being disabled.
const disableInterval = time.Second

// Disable turns mappings off, and returns when they are off. It goes on until then, or until ctx ends.
func Disable(ctx context.Context, api LambdaAPI, mappings []Mapping) error {
	return turn(ctx, api, mappings, false)
}

// Enable turns mappings on, and returns when they are on. It goes on until then, or until ctx ends.
func Enable(ctx context.Context, api LambdaAPI, mappings []Mapping) error {
	return turn(ctx, api, mappings, true)
}

func turn(ctx context.Context, api LambdaAPI, mappings []Mapping, on bool) error {
	what := map[bool]string{false: "disable", true: "enable"}[on]
	for _, one := range mappings {
		if _, err := api.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{UUID: &one.UUID, Enabled: &on}); err != nil {
			return fmt.Errorf("%s the event source mapping %s of %s: %w", what, one.UUID, one.Function, err)
		}
	}
	for _, one := range mappings {
		for {
			out, err := api.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: &one.UUID})
			if err != nil {
				return fmt.Errorf("get event source mapping %s: %w", one.UUID, err)
			}
			if state := aws.ToString(out.State); !on && isOff(state) || on && state == "Enabled" {
				break
			}
			if err := call.Sleep(ctx, disableInterval); err != nil {
				return fmt.Errorf("wait until event source mapping %s is %sd: %w", one.UUID, what, err)
			}
		}
	}
	return nil
}
