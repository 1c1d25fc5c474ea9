// Package contract checks requests and answers against the service models of AWS, as botocore has them, and for DynamoDB against the
// limits in its documentation. Package testkit has it in front of every engine: what a test's client sends, and what an engine or a
// hook answers, is checked unless the test says otherwise, and a violation fails the test.
//
// # What is checked
//
// JSON protocols (DynamoDB and its streams, Application Auto Scaling, KMS, Step Functions, SQS, CloudWatch where it is sent as JSON):
// requests and answers, every member, see [Rule]. Of errors, that the service has such a one.
// Query protocol (STS, CloudWatch as a form): requests. rest-json (Lambda): URI, query, headers and body of requests, bodies of answers.
// rest-xml (S3): URI, query and headers of requests. Not read: XML, CBOR, payloads of blobs, formats of timestamps in forms, and
// all services without a model here, such as CloudFormation. [Call.Operation] is "" for those.
//
// Key rules need the table's description, which is learned from the answers that go by; of a table that nobody has described or created
// through the proxy they check nothing. In TransactWriteItems and TransactGetItems only the members are checked.
//
// # When a test fails
//
// The message names operation, member and rule, never a value; map keys are "*". A fault of the program is to be mended there. A
// request that is wrong on purpose: testkit.BadRequests; an answer that is wrong on purpose: testkit.BadAnswers (a hook that cuts an answer short need not say so). What an engine
// does otherwise than DynamoDB: the list in testkit/contract.go.
//
// # Newer models
//
// Take version and digests of botocore into requirements.txt. A new type of attribute value makes Load fail: value.go must learn it. A pattern that
// Go's regular expressions don't have is not checked; a test lists those.
package contract
