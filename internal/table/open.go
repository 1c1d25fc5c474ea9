package table

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"reseal/internal/call"
	"reseal/internal/refuse"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
)

// Side is one of the two tables of a job and how to reach it, as the command line gives it. What is empty is left to the
// AWS SDK's own configuration.
type Side struct {
	Name        string // "source" or "target", for messages; OnlyTable: the only one of a job
	Table       string // name or ARN
	Region      string
	Profile     string
	RoleARN     string
	EndpointURL string
}

// Handle is an opened side.
type Handle struct {
	DB      *dynamodb.Client
	Streams *dynamodbstreams.Client
	Table   string // what to send as TableName: a name or an ARN
	Given   string // what the user gave
	Ref     Ref
	Side    Side       // as it was given
	Config  aws.Config // for clients of other services
}

// LocalEndpoint is the address of a local engine, on this machine, which may serve other services, too; nil where there is none.
func (h *Handle) LocalEndpoint() *string {
	if base := h.DB.Options().BaseEndpoint; isLoopback(base) {
		return base
	}
	return nil
}

// Open makes the clients of the side. It makes no request to DynamoDB. Its errors are *refuse.Error.
func (s Side) Open(ctx context.Context) (*Handle, error) {
	ref, err := ParseRef("--"+s.Name, s.Table)
	if err != nil {
		return nil, err
	}
	if err := s.checkEndpoint(); err != nil {
		return nil, err
	}
	region, err := s.region(ref)
	if err != nil {
		return nil, err
	}
	cfg, err := s.Config(ctx, region)
	if err != nil {
		return nil, err
	}
	h := &Handle{Table: ref.Name, Given: s.Table, Ref: ref, Side: s, Config: cfg}
	h.DB = dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		if s.EndpointURL != "" {
			o.BaseEndpoint = &s.EndpointURL
		}
	})
	base := h.DB.Options().BaseEndpoint
	if ref.ARN != "" && !isLoopback(base) {
		h.Table = ref.ARN // reaches the right account or nothing; local engines take names only
		if cfg.Region != ref.Region {
			return nil, s.otherRegion(ref, cfg.Region)
		}
	}
	h.Streams = dynamodbstreams.NewFromConfig(cfg, func(o *dynamodbstreams.Options) {
		// A local engine serves its streams at the same address. What the user gave for this side goes before the environment:
		// the streams of another engine may have the same ARNs. Any other endpoint, such as a private one of AWS, serves no streams:
		// they have hosts of their own.
		if isLoopback(base) && (o.BaseEndpoint == nil || s.EndpointURL != "") {
			o.BaseEndpoint = base
		}
	})
	return h, nil
}

func (s Side) checkEndpoint() error {
	if s.EndpointURL == "" {
		return nil
	}
	u, err := url.Parse(s.EndpointURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return refuse.New("it should look like http://localhost:8000", "the endpoint URL %q of the %s is not a URL", s.EndpointURL, s.Name)
	}
	return nil
}

// flag is the option of the command line for this side.
func (s Side) flag(what string) string {
	if s.Name == OnlyTable {
		return "--" + what
	}
	return "--" + s.Name + "-" + what
}

// region is the one to sign for; "": the SDK's own configuration has it.
func (s Side) region(ref Ref) (string, error) {
	switch {
	case s.Region == "":
		return ref.Region, nil
	case ref.Region != "" && s.Region != ref.Region && !isLoopback(&s.EndpointURL): // a local engine's ARNs may name any Region
		return "", s.otherRegion(ref, s.Region)
	}
	return s.Region, nil
}

func (s Side) otherRegion(ref Ref, region string) error {
	return refuse.New("leave the Region out, the ARN has it", "--%s is in Region %s, but Region %s was given for it", s.Name, ref.Region, region)
}

// expiryWindow is how long before they end credentials are renewed: a request that is signed just before may arrive just after,
// and it isn't repeated when it is refused.
const expiryWindow = time.Minute

// Config reads the AWS configuration of the side, for a Region; "" leaves the Region to the configuration, too. Its errors are
// *refuse.Error.
func (s Side) Config(ctx context.Context, region string) (aws.Config, error) {
	renewEarly := func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = expiryWindow }
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient()),
		config.WithCredentialsCacheOptions(renewEarly),
		config.WithLogger(logging.Nop{}), // the SDK would write its warnings to stderr
		config.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) { o.TokenProvider = s.token(ctx) }),
	}
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	if s.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(s.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		var missing config.SharedConfigProfileNotExistError
		if errors.As(err, &missing) {
			return cfg, refuse.Because(err, "check the name and ~/.aws/config", "the %s's profile %q does not exist", s.Name, s.Profile)
		}
		return cfg, refuse.Because(err, "check ~/.aws/config and the AWS_* environment variables", "the AWS configuration of the %s can't be read (%s)", s.Name, oneLine(err))
	}
	cfg.HTTPClient = tuned(cfg.HTTPClient)
	if cfg.Region == "" {
		if s.EndpointURL == "" {
			return cfg, refuse.New("set AWS_REGION or give "+s.flag("region"), "no AWS Region is known for the %s", s.Name)
		}
		cfg.Region = "us-east-1" // an endpoint of one's own takes any; the signature needs one
	}
	cfg.Credentials = s.shared(ctx, cfg.Credentials)
	if s.RoleARN != "" {
		provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), s.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "reseal"
		})
		cfg.Credentials = aws.NewCredentialsCache(provider, renewEarly)
	}
	return cfg, s.checkCredentials(ctx, cfg)
}

// checkCredentials asks for credentials now, so that their absence is one clear line and not the end of a long chain.
func (s Side) checkCredentials(ctx context.Context, cfg aws.Config) error {
	patience := 15 * time.Second
	if ctx.Value(askingKey{}) != nil {
		patience = 5 * time.Minute // a person may have to look for a device
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := cfg.Credentials.Retrieve(limited)
	var last *smithy.OperationError // of the instance's metadata, which is asked when there is nothing else
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errNobodyToAsk):
		return s.noCode(err)
	case s.RoleARN != "":
		return refuse.Because(err, "check the role's ARN, its trust policy and your own credentials", "the %s's role %s can't be assumed (%s)", s.Name, s.RoleARN, oneLine(err))
	case errors.As(err, &last) && last.Service() == "ec2imds":
		return refuse.Because(err, "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give "+s.flag("profile")+" (a local engine takes any value)", "no AWS credentials were found for the %s", s.Name)
	default:
		return refuse.Because(err, "renew them, or check the profile and ~/.aws/config", "the AWS credentials of the %s can't be had (%s)", s.Name, oneLine(err))
	}
}

// tuned changes some things of the SDK's HTTP client.
//
// It keeps as many idle connections to one host as requests are ever in flight: the SDK's own 10 would make each further
// request open, and a TLS handshake pay for, a new connection.
//
// Its write buffers hold a whole request of 25 usual items, which takes one system call then, where the usual 4 KB take many. Large
// answers are read past the read buffers.
//
// It never asks for compressed answers, as the SDK doesn't either: DynamoDB's checksum is of what it sent, and unpacking would cost
// more than it saves so near to the service.
//
// It drops what has not been sent yet when it closes a connection. Otherwise the kernel goes on sending a request that we have
// given up, for minutes if the network comes back only then, and a write would land later than call.Policy.Lifetime says.
//
// And see call.WholeAnswers.
func tuned(client aws.HTTPClient) aws.HTTPClient {
	sdk, is := client.(*awshttp.BuildableClient)
	if !is {
		return client
	}
	return call.WholeAnswers(sdk.WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns = 512
		t.MaxIdleConnsPerHost = 256
		t.WriteBufferSize = 32 << 10
		t.DisableCompression = true
		dial := t.DialContext
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if tcp, is := conn.(*net.TCPConn); is {
				if err := tcp.SetLinger(0); err != nil {
					return nil, errors.Join(err, conn.Close())
				}
			}
			return conn, nil
		}
	}).Freeze()) // a client of the service would replace DialContext if AWS_DEFAULTS_MODE is set
}

// oneLine is the part of an SDK error that a person can use, on one line.
func oneLine(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		if strings.Contains(api.ErrorCode(), "Signature") {
			return api.ErrorCode() // its message has what was to be signed, and a session token with it
		}
		return api.ErrorCode() + ": " + inOneLine(api.ErrorMessage())
	}
	var path *fs.PathError // which names the file
	if errors.As(err, &path) {
		return inOneLine(path.Error())
	}
	var network *net.OpError // which names the address
	if errors.As(err, &network) {
		return inOneLine(network.Error())
	}
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return inOneLine(err.Error())
}

func inOneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
