// Package wire has the SDK's DynamoDB client carry bodies that reseal writes and reads itself, so that items stay the bytes that they
// came in: turning JSON into attribute values and back is most of what a copy costs otherwise.
//
// Everything else about a request stays the SDK's: validation, endpoint, credentials, signing, the HTTP client, time-outs, and the
// decoding of errors. The hook is the client's option Protocol, which writes a request's body and reads its answer: ours passes
// everything on to the one that was there, and then puts in another body, or keeps an answer of success as it is. A change of that
// interface fails to compile. If the SDK should ever pass over the option, requests go out without items, which DynamoDB refuses, and
// answers come without items, which their readers take for a broken answer.
//
// An Operation, for what is sent by the thousand, also keeps the SDK from doing the same work for each request again. What it relies on
// is in the tests: each request is to the byte what the client's own method would have sent, but for its time, its number and its
// signature; the kinds of errors, cancelling, a wrong clock and new credentials come out the same. If an Operation can't see the SDK's middleware
// any more, its first request fails and says so.
package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Client returns the client if an Exchange has an effect on its requests: if it is the SDK's. Any other has to be given whole inputs,
// and returns whole outputs.
func Client(client any) (db *dynamodb.Client, is bool) {
	db, is = client.(*dynamodb.Client)
	return db, is
}

// Exchange is the bodies of one request and its answer. It serves one call.
type Exchange struct {
	Body   []byte // of the request; nil: as the SDK writes it. It must not be changed after the call, which may still be sending it: see Sent
	Buffer []byte // memory for the answer, used if it is large enough
	Answer []byte // of a request that was carried out; nil before

	stream *bytes.Reader // of the body, as the SDK has it
	sent   atomic.Bool
}

// Sent tells whether net/http has told that it is done with the body, in a call of Operation.Do that has succeeded. Its memory may be
// used again then. It may not after a call that failed, whatever Sent says.
func (x *Exchange) Sent() bool { return x.sent.Load() }

func (x *Exchange) wrote(info httptrace.WroteRequestInfo) {
	if info.Err == nil {
		x.sent.Store(true)
	}
}

// Use is an option for one call of the SDK's client.
func (x *Exchange) Use(o *dynamodb.Options) {
	o.Protocol = protocol{o.Protocol, x}
	// The SDK's own check of the answer's checksum tells its logger, and nobody else, what it finds (smithy-go 1.28.9,
	// CloseResponseBody). Ours is an error.
	o.DisableValidateResponseChecksum = true
	o.EnableAcceptEncodingGzip = false // the checksum is of what is sent, and we see it unpacked
}

type protocol struct {
	smithyhttp.ClientProtocol
	x *Exchange // of a call whose context has none
}

// exchange is that of the call.
func (p protocol) exchange(ctx context.Context) *Exchange {
	if x, is := ctx.Value(exchangeKey{}).(*Exchange); is {
		return x
	}
	return p.x
}

// SerializeRequest writes the request as the SDK does, headers and all, and then gives it the other body.
func (p protocol) SerializeRequest(ctx context.Context, schema *smithy.OperationSchema, in smithy.Serializable, request *smithyhttp.Request) error {
	if err := p.ClientProtocol.SerializeRequest(ctx, schema, in, request); err != nil {
		return err
	}
	x := p.exchange(ctx)
	if x.Body == nil {
		return nil
	}
	return x.setBody(request)
}

// setBody puts the body into a request.
func (x *Exchange) setBody(request *smithyhttp.Request) error {
	x.stream = bytes.NewReader(x.Body)
	changed, err := request.SetStream(x.stream)
	if err != nil {
		return fmt.Errorf("set request body: %w", err)
	}
	*request = *changed
	return nil
}

// DeserializeResponse keeps an answer of success; the SDK makes an error of any other.
func (p protocol) DeserializeResponse(ctx context.Context, schema *smithy.OperationSchema, types *smithy.TypeRegistry, response *smithyhttp.Response, out smithy.Deserializable) error {
	if response.StatusCode < 200 || response.StatusCode >= 300 {
		return p.ClientProtocol.DeserializeResponse(ctx, schema, types, response, out)
	}
	x := p.exchange(ctx)
	body, err := readAll(x.Buffer, response.Body, response.ContentLength)
	if err == nil {
		err = check(body, response.Header.Get("X-Amz-Crc32"))
	}
	if err != nil {
		return &smithy.DeserializationError{Err: err}
	}
	x.Answer = body
	return nil
}

// mostTrusted is how long an answer may claim to be for that much memory to be made before it comes. A page of a Scan holds 1 MB of
// items, and a BatchGetItem's answer 16 MB, which JSON makes more of.
const mostTrusted = 64 << 20

// readAll reads the body to its end, into the buffer if that is large enough. length is 0 or less if it isn't known.
func readAll(buffer []byte, body io.Reader, length int64) ([]byte, error) {
	if length > 0 && length <= mostTrusted {
		if int64(cap(buffer)) < length {
			buffer = make([]byte, length)
		}
		buffer = buffer[:length]
		if _, err := io.ReadFull(body, buffer); err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		return buffer, nil
	}
	grown := bytes.NewBuffer(buffer[:0])
	if _, err := grown.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return grown.Bytes(), nil
}

// errChecksum says that an answer was damaged on its way.
var errChecksum = errors.New("the answer does not have the checksum that DynamoDB gave it")

// check compares the body with its CRC-32 (IEEE), which DynamoDB sends with each answer; a local engine may not.
func check(body []byte, header string) error {
	if header == "" {
		return nil
	}
	want, err := strconv.ParseUint(header, 10, 32)
	if err != nil || crc32.ChecksumIEEE(body) != uint32(want) {
		return errChecksum
	}
	return nil
}
