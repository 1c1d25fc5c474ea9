package table

import (
	"net"
	"net/url"
	"strings"

	"reseal/internal/refuse"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// isLoopback tells whether an endpoint is on this machine, where an engine may give its tables any account and Region. No other spelling
// of a host tells an engine from AWS: a private endpoint of AWS may have any name. What DescribeTable answers tells: see checkPlace.
func isLoopback(endpoint *string) bool {
	u, err := url.Parse(aws.ToString(endpoint))
	if err != nil {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// optioned is a client that tells how it was made; *dynamodb.Client is one.
type optioned interface{ Options() dynamodb.Options }

// noAccount is the account in the ARNs of engines that have none. AWS has no such account.
const noAccount = "000000000000"

// checkPlace refuses a table that isn't the one that was asked for: the answer has another name, or, unless it comes from this machine,
// another ARN than the one that was given or, for a name, another Region than the one that the request was signed for.
func checkPlace(api DescribeAPI, info Info) error {
	ref, err := ParseRef("the table", info.Sent)
	if err != nil && !strings.HasPrefix(info.Sent, "arn:") {
		return nil // no name that DynamoDB has: an engine's own
	}
	if err != nil {
		return err
	}
	const remedy = "check the endpoint URL, the Region, the profile and the table's ARN"
	if info.Name != ref.Name {
		return refuse.New(remedy, "%s was asked for, but the answer is about the table %q", called(info.Side, ref.Name), info.Name)
	}
	region := ref.Region
	if client, is := api.(optioned); is {
		o := client.Options()
		if isLoopback(o.BaseEndpoint) {
			return nil
		}
		region = o.Region
	}
	got, err := arn.Parse(info.ARN)
	switch {
	case ref.ARN != "" && info.ARN != ref.ARN:
		return refuse.New(remedy, "%s was asked for, but the answer is about %s", called(info.Side, ref.ARN), orNothing(info.ARN))
	case ref.ARN != "" || region == "" || err == nil && got.AccountID == noAccount:
		return nil
	case err != nil || got.Region != region:
		return refuse.New(remedy, "%s was asked for in Region %s, but the answer is about %s", called(info.Side, ref.Name), region, orNothing(info.ARN))
	}
	return nil
}

func orNothing(arn string) string {
	if arn == "" {
		return "a table without an ARN"
	}
	return arn
}

// checkStreamOf refuses a stream that is another table's.
func checkStreamOf(info Info) error {
	if stream := info.StreamARN(); strings.Contains(stream, ":table/") && info.ARN != "" && !strings.HasPrefix(stream, info.ARN+"/stream/") {
		return refuse.New("check the endpoint URL: it doesn't answer as DynamoDB does", "%s has the stream %s, which is not its own", called(info.Side, info.ARN), stream)
	}
	return nil
}
