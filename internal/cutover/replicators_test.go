package cutover

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"reseal/internal/table"
)

// functions is AWS Lambda with some functions that read a stream.
type functions struct {
	states    map[string]string // by mapping
	variables map[string]map[string]string
	disabling time.Duration
	disabled  time.Time
	enabled   time.Time
	on        bool // what was asked for
	err       error
}

func (f *functions) ListEventSourceMappings(_ context.Context, in *lambda.ListEventSourceMappingsInput, _ ...func(*lambda.Options)) (*lambda.ListEventSourceMappingsOutput, error) {
	if f.err != nil {
		return nil, f.err
	}
	out := &lambda.ListEventSourceMappingsOutput{}
	for name, state := range f.states {
		if (in.Marker == nil) == (name == "second") { // two pages
			continue
		}
		out.EventSourceMappings = append(out.EventSourceMappings, types.EventSourceMappingConfiguration{UUID: aws.String(name), FunctionArn: aws.String("function:" + name), State: aws.String(state)})
	}
	if in.Marker == nil {
		out.NextMarker = aws.String("more")
	}
	return out, nil
}

func (f *functions) GetFunctionConfiguration(_ context.Context, in *lambda.GetFunctionConfigurationInput, _ ...func(*lambda.Options)) (*lambda.GetFunctionConfigurationOutput, error) {
	out := &lambda.GetFunctionConfigurationOutput{Role: aws.String("role of " + *in.FunctionName)}
	if variables := f.variables[*in.FunctionName]; variables != nil {
		out.Environment = &types.EnvironmentResponse{Variables: variables}
	}
	return out, nil
}

func (f *functions) GetEventSourceMapping(context.Context, *lambda.GetEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.GetEventSourceMappingOutput, error) {
	state := "Disabling"
	switch {
	case f.on && time.Since(f.enabled) < f.disabling:
		state = "Enabling"
	case f.on:
		state = "Enabled"
	case !f.disabled.IsZero() && time.Since(f.disabled) >= f.disabling:
		state = "Disabled"
	}
	return &lambda.GetEventSourceMappingOutput{State: &state}, nil
}

func (f *functions) UpdateEventSourceMapping(_ context.Context, in *lambda.UpdateEventSourceMappingInput, _ ...func(*lambda.Options)) (*lambda.UpdateEventSourceMappingOutput, error) {
	if f.on = aws.ToBool(in.Enabled); !f.on {
		f.disabled = time.Now()
	} else {
		f.enabled = time.Now()
	}
	return &lambda.UpdateEventSourceMappingOutput{}, nil
}

// Who replicates are the functions with a mapping that polls, whose environment names the target; by the role that writes there.
func TestMappings(t *testing.T) {
	t.Parallel()
	target := table.Info{Name: "copy", ARN: "arn:aws:dynamodb:eu-west-1:123456789012:table/copy"}
	f := &functions{
		states: map[string]string{"first": "Enabled", "second": "Disabling", "off": "Disabled", "other": "Enabled", "elsewhere": "Enabled"},
		variables: map[string]map[string]string{
			"function:first": {"RESEAL_TARGET_TABLE": target.ARN}, "function:second": {"RESEAL_TARGET_TABLE": "copy", "RESEAL_TARGET_ROLE_ARN": "assumed"},
			"function:off": {"RESEAL_TARGET_TABLE": "copy"}, "function:elsewhere": {"RESEAL_TARGET_TABLE": "another"},
		},
	}
	ours, others, err := Mappings(t.Context(), f, "stream", target)
	roles := map[string]string{}
	for _, one := range ours {
		roles[one.UUID] = one.Role
	}
	if err != nil || len(ours) != 2 || roles["first"] != "role of function:first" || roles["second"] != "assumed" || len(others) != 2 {
		t.Errorf("ours %v, others %v (%v)", ours, others, err)
	}
	on, off, _, err := AllMappings(t.Context(), f, "stream", target)
	if err != nil || len(on) != 2 || len(off) != 1 || off[0].UUID != "off" || off[0].Role != "role of function:off" {
		t.Errorf("on %v, off %v (%v)", on, off, err)
	}
	f.err = errors.New("denied")
	if _, _, err := Mappings(t.Context(), f, "stream", target); err == nil {
		t.Error("an error passes for no mapping")
	}
}

// A mapping counts as off when it says so, not when that was asked for.
func TestDisable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &functions{disabling: 20 * time.Second}
		start := time.Now()
		if err := Disable(t.Context(), f, []Mapping{{UUID: "first"}}); err != nil || time.Since(start) < f.disabling {
			t.Errorf("disabled after %s (%v)", time.Since(start), err)
		}
		f.disabling = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := Disable(ctx, f, []Mapping{{UUID: "first"}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a mapping that never stops: %v", err)
		}
	})
}

// A mapping counts as on when it says so.
func TestEnable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &functions{disabling: 20 * time.Second}
		start := time.Now()
		if err := Enable(t.Context(), f, []Mapping{{UUID: "first"}}); err != nil || time.Since(start) < f.disabling || !f.on {
			t.Errorf("enabled after %s (%v)", time.Since(start), err)
		}
	})
}
