package prepare

import (
	"context"
	"fmt"
	"strings"

	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
)

// ScalingAPI is what is asked of Application Auto Scaling; *applicationautoscaling.Client has it.
type ScalingAPI interface {
	DescribeScalableTargets(context.Context, *applicationautoscaling.DescribeScalableTargetsInput, ...func(*applicationautoscaling.Options)) (*applicationautoscaling.DescribeScalableTargetsOutput, error)
	DescribeScalingPolicies(context.Context, *applicationautoscaling.DescribeScalingPoliciesInput, ...func(*applicationautoscaling.Options)) (*applicationautoscaling.DescribeScalingPoliciesOutput, error)
}

// Scalable is a capacity that Application Auto Scaling changes: the read or the write units of a table or of an index.
type Scalable struct {
	Index     string // "": the table
	Dimension types.ScalableDimension
	Min, Max  int32
	Policies  []Policy
	Left      []string // what of it can't be repeated
}

// Policy holds the consumed share of the capacity at a target.
type Policy struct {
	Metric                            types.MetricType
	Percent                           float64
	ScaleInCooldown, ScaleOutCooldown *int32 // seconds; nil: the service's own
	DisableScaleIn                    bool
}

// OpenScaling makes the client for the account and Region of a table, or says why there is none: Application Auto Scaling knows a
// table by its name only, in the caller's own account, where another table may have the name.
func OpenScaling(ctx context.Context, h *table.Handle) (client ScalingAPI, why string) {
	if h.Ref.Account != "" && h.LocalEndpoint() == nil {
		switch caller, err := h.Caller(ctx); {
		case err != nil:
			return nil, err.Error()
		case caller != h.Ref.Account:
			return nil, "the table is in account " + h.Ref.Account + ", and the credentials can ask in " + caller + " only"
		}
	}
	return applicationautoscaling.NewFromConfig(h.Config, func(o *applicationautoscaling.Options) {
		if o.BaseEndpoint == nil {
			o.BaseEndpoint = h.LocalEndpoint() // which may serve it, too
		}
	}), ""
}

// readScaling asks for what is registered for the table and its indexes.
func readScaling(ctx context.Context, api ScalingAPI, info table.Info) ([]Scalable, error) {
	var list []Scalable
	resources := []string{"table/" + info.Name}
	for _, index := range info.Raw.GlobalSecondaryIndexes {
		resources = append(resources, "table/"+info.Name+"/index/"+aws.ToString(index.IndexName))
	}
	for _, resource := range resources {
		found, err := scalableTargets(ctx, api, resource)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue
		}
		policies, err := scalingPolicies(ctx, api, resource)
		if err != nil {
			return nil, err
		}
		_, index, _ := strings.Cut(resource, "/index/")
		for _, target := range found {
			s := Scalable{Index: index, Dimension: target.ScalableDimension, Min: aws.ToInt32(target.MinCapacity), Max: aws.ToInt32(target.MaxCapacity)}
			if p := target.SuspendedState; p != nil && (aws.ToBool(p.DynamicScalingInSuspended) || aws.ToBool(p.DynamicScalingOutSuspended) || aws.ToBool(p.ScheduledScalingSuspended)) {
				s.Left = append(s.Left, "scaling is suspended on the source")
			}
			for _, policy := range policies {
				if policy.ScalableDimension == s.Dimension {
					s.add(policy)
				}
			}
			list = append(list, s)
		}
	}
	return list, nil
}

// add takes a policy over if it is of the only kind that DynamoDB's console makes.
func (s *Scalable) add(p types.ScalingPolicy) {
	c := p.TargetTrackingScalingPolicyConfiguration
	if c == nil || c.PredefinedMetricSpecification == nil || c.TargetValue == nil {
		s.Left = append(s.Left, fmt.Sprintf("policy %q tracks no predefined metric", aws.ToString(p.PolicyName)))
		return
	}
	s.Policies = append(s.Policies, Policy{
		Metric: c.PredefinedMetricSpecification.PredefinedMetricType, Percent: *c.TargetValue,
		ScaleInCooldown: c.ScaleInCooldown, ScaleOutCooldown: c.ScaleOutCooldown, DisableScaleIn: aws.ToBool(c.DisableScaleIn),
	})
}

func scalableTargets(ctx context.Context, api ScalingAPI, resource string) ([]types.ScalableTarget, error) {
	in := &applicationautoscaling.DescribeScalableTargetsInput{ServiceNamespace: types.ServiceNamespaceDynamodb, ResourceIds: []string{resource}}
	var list []types.ScalableTarget
	for {
		out, err := api.DescribeScalableTargets(ctx, in)
		if err != nil {
			return nil, err
		}
		list = append(list, out.ScalableTargets...)
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			return list, nil
		}
	}
}

func scalingPolicies(ctx context.Context, api ScalingAPI, resource string) ([]types.ScalingPolicy, error) {
	in := &applicationautoscaling.DescribeScalingPoliciesInput{ServiceNamespace: types.ServiceNamespaceDynamodb, ResourceId: &resource}
	var list []types.ScalingPolicy
	for {
		out, err := api.DescribeScalingPolicies(ctx, in)
		if err != nil {
			return nil, err
		}
		list = append(list, out.ScalingPolicies...)
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			return list, nil
		}
	}
}
