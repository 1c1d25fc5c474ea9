package table

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Account is the account that the table's name means: of the ARN, if the user gave one, and otherwise of whoever asks.
func (h *Handle) Account(ctx context.Context) (string, error) {
	if h.Ref.Account != "" {
		return h.Ref.Account, nil
	}
	return h.Caller(ctx)
}

// Caller is the account whose credentials the side has.
func (h *Handle) Caller(ctx context.Context) (string, error) {
	out, err := h.identity(ctx)
	if err != nil {
		return "", err
	}
	if aws.ToString(out.Account) == "" {
		return "", errors.New("ask whose credentials these are: the answer has no account")
	}
	return *out.Account, nil
}

// CallerARN is the ARN of the user, or of the role's session, whose credentials the side has.
func (h *Handle) CallerARN(ctx context.Context) (string, error) {
	out, err := h.identity(ctx)
	if err != nil {
		return "", err
	}
	if aws.ToString(out.Arn) == "" {
		return "", errors.New("ask whose credentials these are: the answer has no ARN")
	}
	return *out.Arn, nil
}

// identity asks STS, which tells everybody who he is, whatever he is allowed to do (API reference, GetCallerIdentity).
func (h *Handle) identity(ctx context.Context) (*sts.GetCallerIdentityOutput, error) {
	const patience = 15 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := sts.NewFromConfig(h.Config, func(o *sts.Options) {
		if o.BaseEndpoint == nil {
			o.BaseEndpoint = h.LocalEndpoint() // which may serve it, too
		}
	})
	out, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, fmt.Errorf("ask whose credentials these are: %s", oneLine(err))
	}
	return out, nil
}

// SameCaller tells whether both sides have the credentials of one caller.
func (h *Handle) SameCaller(o *Handle) bool {
	return h.Side.Profile == o.Side.Profile && h.Side.RoleARN == o.Side.RoleARN
}
