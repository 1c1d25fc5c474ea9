package fence

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"time"

	"reseal/internal/call"
	"reseal/internal/item"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// ProbeAPI is what a Probe asks of DynamoDB; *dynamodb.Client has it.
type ProbeAPI interface {
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
}

// Probe finds out whether writes to a table are denied, by one that changes nothing: an UpdateItem of a random key, on the condition that
// there is such an item, with nothing to update. It costs a write unit.
type Probe struct {
	API    ProbeAPI
	Table  string // name or ARN
	Schema item.Schema
}

// errWritten: the key of a probe was one of the table's, which it has left as it was.
var errWritten = errors.New("an item has the random key of the probe")

// Denied tells whether a write is denied to the caller at present. An error says that this isn't known.
func (p Probe) Denied(ctx context.Context) (bool, error) {
	key, err := p.key()
	if err != nil {
		return false, err
	}
	condition := "attribute_exists(#key)"
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err = p.API.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &p.Table, Key: key, ConditionExpression: &condition,
		ExpressionAttributeNames: map[string]string{"#key": p.Schema.Hash.Name},
	}, call.Once)
	var missed *types.ConditionalCheckFailedException
	var api smithy.APIError
	switch {
	case err == nil:
		return false, fmt.Errorf("probe table: %w", errWritten)
	case errors.As(err, &missed):
		return false, nil
	case errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException":
		if denial, is := call.DeniedBy(err); is && denial.Key != call.KeyFine {
			return false, fmt.Errorf("probe table: %w", call.Private(err)) // the key's trouble is no fence
		}
		return true, nil
	}
	return false, fmt.Errorf("probe table: %w", call.Private(err))
}

// key is one that no item has.
func (p Probe) key() (map[string]types.AttributeValue, error) {
	key := map[string]types.AttributeValue{}
	for _, attribute := range []item.KeyAttribute{p.Schema.Hash, p.Schema.Range} {
		if attribute.Name == "" {
			continue
		}
		var random [15]byte
		if _, err := rand.Read(random[:]); err != nil {
			return nil, fmt.Errorf("draw key: %w", err)
		}
		switch attribute.Type {
		case types.ScalarAttributeTypeN:
			number := new(big.Int).SetBytes(random[:]).String() // 36 digits or 37, of 38 that a number may have
			key[attribute.Name] = &types.AttributeValueMemberN{Value: number}
		case types.ScalarAttributeTypeB:
			key[attribute.Name] = &types.AttributeValueMemberB{Value: random[:]}
		default:
			key[attribute.Name] = &types.AttributeValueMemberS{Value: fmt.Sprintf("reseal-probe-%x", random)}
		}
	}
	return key, nil
}

const (
	// probeInterval is the time between the beginnings of two probes.
	probeInterval = 100 * time.Millisecond
	// mostGap is how far apart two denials may be that are to count as without a break.
	mostGap = time.Second
)

// Prove probes until all probes of a time quiet were denied, and tells when the first denied one of all began: from then on some writers may
// have been refused. It goes on until then, or until ctx ends: an error of a probe says nothing, and only lets the time begin anew if it
// lasts.
func (p Probe) Prove(ctx context.Context, quiet time.Duration) (denied time.Time, err error) {
	denied, err = p.await(ctx, quiet, true)
	if err != nil {
		err = fmt.Errorf("prove that writes are denied: %w", err)
	}
	return denied, err
}

// ProveOpen probes until none of a time quiet was denied: what an earlier statement denies is not to be taken for the work of the next one.
func (p Probe) ProveOpen(ctx context.Context, quiet time.Duration) error {
	if _, err := p.await(ctx, quiet, false); err != nil {
		return fmt.Errorf("prove that writes are let through: %w", err)
	}
	return nil
}

// await probes until all probes of a time quiet have been answered as wanted, and tells when the first such one of all began.
func (p Probe) await(ctx context.Context, quiet time.Duration, wanted bool) (earliest time.Time, err error) {
	var first, last time.Time // of those without a break
	for {
		began := time.Now()
		denied, probing := p.Denied(ctx)
		switch isKnown := probing == nil || errors.Is(probing, errWritten); {
		case isKnown && denied == wanted:
			if earliest.IsZero() {
				earliest = began
			}
			if first.IsZero() || began.Sub(last) > mostGap {
				first = began
			}
			if last = began; last.Sub(first) >= quiet {
				return earliest, nil
			}
		case isKnown:
			first = time.Time{}
		case isGone(probing):
			return time.Time{}, probing
		}
		if err := call.Sleep(ctx, probeInterval-time.Since(began)); err != nil {
			return time.Time{}, errors.Join(err, probing)
		}
		if err := ctx.Err(); err != nil {
			return time.Time{}, errors.Join(err, probing)
		}
	}
}

// isGone tells of a table that is there no more.
func isGone(err error) bool {
	var gone *types.ResourceNotFoundException
	return errors.As(err, &gone)
}
