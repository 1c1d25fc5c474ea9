package table

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"reseal/internal/refuse"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Ask puts a question to a person and returns the answer's line.
type Ask func(ctx context.Context, question string) (string, error)

type askingKey struct{}

// asking is what a job asks with, and the credentials that it got by that: a code is taken once only, so two sides of one profile share
// them.
type asking struct {
	ask Ask

	mu    sync.Mutex
	given map[string]aws.CredentialsProvider // by profile
}

// OnAsking returns a context with which Side.Open and Side.Config ask for the code of a profile with an mfa_serial. Without it they refuse
// such a profile.
func OnAsking(ctx context.Context, ask Ask) context.Context {
	return context.WithValue(ctx, askingKey{}, &asking{ask: ask, given: map[string]aws.CredentialsProvider{}})
}

// errNobodyToAsk says that a profile needs a code and nobody is there to give it.
var errNobodyToAsk = errors.New("it needs the code of an MFA device, and there is no terminal to ask for it on")

// token returns what the SDK calls when a profile has an mfa_serial.
func (s Side) token(ctx context.Context) func() (string, error) {
	return func() (string, error) {
		a, is := ctx.Value(askingKey{}).(*asking)
		if !is {
			return "", errNobodyToAsk
		}
		code, err := a.ask(ctx, fmt.Sprintf("MFA code for the %s's AWS profile: ", s.Name))
		if err != nil {
			return "", err
		}
		if code = strings.TrimSpace(code); code == "" {
			return "", errors.New("no code was given")
		}
		return code, nil
	}
}

// shared returns the credentials that another side with the same profile has, or else these.
func (s Side) shared(ctx context.Context, own aws.CredentialsProvider) aws.CredentialsProvider {
	a, is := ctx.Value(askingKey{}).(*asking)
	if !is {
		return own
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if have := a.given[s.Profile]; have != nil {
		return have
	}
	a.given[s.Profile] = own
	return own
}

// noCode refuses a profile for which nobody can be asked.
func (s Side) noCode(err error) error {
	name, flag := "the profile of the "+s.Name, ""
	if s.Profile != "" {
		name, flag = fmt.Sprintf("the %s's profile %q", s.Name, s.Profile), " --profile "+s.Profile
	}
	return refuse.Because(err, fmt.Sprintf(`run this on a terminal, or set the environment first: eval "$(aws configure export-credentials%s --format env)", and leave the profile out`, flag),
		"%s needs the code of an MFA device (mfa_serial)", name)
}
