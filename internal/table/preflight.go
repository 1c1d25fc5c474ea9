package table

import (
	"context"

	"reseal/internal/refuse"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The values of Needs.Encryption and of the option --encryption.
const (
	EncryptionKMS = "kms"
	EncryptionAny = "any"
)

// Needs is what a job needs of its tables beyond what all jobs need.
type Needs struct {
	Stream     bool   // a stream with new images on the source
	Encryption string // EncryptionKMS (or ""), or EncryptionAny
}

// Pair is the two tables of a job.
type Pair struct{ Source, Target Info }

// Preflight describes both tables and checks that the job may run: both are ACTIVE, are two tables, and have the same keys,
// and what needs says. A table that is CREATING or UPDATING is waited for: see Await and OnWaiting. It writes nothing. Its errors are *refuse.Error, but for the context's own.
func Preflight(ctx context.Context, source DescribeAPI, sourceName string, target DescribeAPI, targetName string, needs Needs) (Pair, error) {
	if e := needs.Encryption; e != "" && e != EncryptionKMS && e != EncryptionAny {
		return Pair{}, refuse.New("use kms or any", "--encryption %q is not known", e)
	}
	var pair Pair
	err := awaitAll(ctx, func() ([]Info, error) {
		var err error
		if pair.Source, err = Describe(ctx, source, "source", sourceName); err != nil {
			return nil, err
		}
		if pair.Target, err = Describe(ctx, target, "target", targetName); err != nil {
			return nil, err
		}
		return []Info{pair.Source, pair.Target}, pair.checkDistinct()
	})
	if err != nil {
		return Pair{}, err
	}
	checks := []func() error{pair.checkKeys}
	if needs.Stream {
		checks = append(checks, pair.checkStream)
	}
	if needs.Encryption != EncryptionAny {
		checks = append(checks, pair.checkEncryption)
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return Pair{}, err
		}
	}
	return pair, nil
}

// checkDistinct goes by TableId: two engines may give two tables the same ARN.
func (p Pair) checkDistinct() error {
	if p.Source.ARN == p.Target.ARN && p.Source.ID == p.Target.ID {
		return refuse.New("give another --target", "source and target are the same table %q", p.Source.Name)
	}
	return nil
}

func (p Pair) checkKeys() error {
	if p.Source.Schema != p.Target.Schema {
		return refuse.New("create a target with the source's keys", "the key schemas differ: source has %s, target has %s", p.Source.Schema, p.Target.Schema)
	}
	return nil
}

func (p Pair) checkStream() error {
	switch view := p.Source.StreamView(); view {
	case types.StreamViewTypeNewImage, types.StreamViewTypeNewAndOldImages:
		return nil
	case "":
		return refuse.New("enable it with new images (aws dynamodb update-table --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES)",
			"the source table %q has no stream, so changes made during the copy would be lost", p.Source.Name)
	default:
		return refuse.New("disable it and enable one with NEW_IMAGE or NEW_AND_OLD_IMAGES", "the stream of the source table %q is %s and has no new images", p.Source.Name, view)
	}
}

func (p Pair) checkEncryption() error {
	if p.Target.Encryption() != "KMS" {
		return refuse.New("enable SSESpecification with SSEType KMS on it, or waive this with --encryption any",
			"the target table %q is not encrypted with a KMS key", p.Target.Name)
	}
	return nil
}
