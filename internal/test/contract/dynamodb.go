package contract

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Limits of requests (Amazon DynamoDB API Reference, BatchGetItem, BatchWriteItem, GetRecords; Developer Guide, "Quotas in Amazon DynamoDB").
const (
	maxRequest    = 16 << 20
	maxGets       = 100
	maxWrites     = 25
	maxRecords    = 1000
	maxExpression = 4 << 10
)

var nameOfTable = regexp.MustCompile(`\A[a-zA-Z0-9_.-]{3,255}\z`)

// tableName checks a table's name, where the model takes an ARN too and so any text.
func (c *checker) tableName(name []byte) {
	if c.side == Request && c.call.isDynamoDB() && !strings.HasPrefix(string(name), "arn:") && !nameOfTable.Match(name) {
		c.breaks(TableName, "want %s", nameOfTable)
	}
}

// text is a string of the outermost structure.
func (c *checker) field(name string) string {
	var text string
	_ = json.Unmarshal(c.top[name], &text) // another type has been reported
	return text
}

// whole is a number of the outermost structure.
func (c *checker) whole(name string) (int, bool) {
	n, err := strconv.Atoi(string(c.top[name]))
	return n, err == nil
}

// request checks what the model doesn't say of a request to DynamoDB.
func (c *checker) request() {
	if len(c.data) > maxRequest {
		c.breaks(RequestSize, "%d bytes, want %d or fewer", len(c.data), maxRequest)
	}
	if n, ok := c.whole("Limit"); ok && c.call.op.name == "GetRecords" && n > maxRecords {
		c.breaks(RecordLimit, "want %d or fewer", maxRecords)
	}
	c.segment()
	c.expressions()
	c.batch()
	for _, one := range c.found {
		if of := c.tableOf(one); of != nil {
			c.path = one.path
			c.keyed(one, of)
		}
	}
	c.path = nil
}

// tableOf returns the table of attributes; nil if it isn't known.
func (c *checker) tableOf(a attributes) *table {
	name := a.table
	if name == "" {
		name = c.field("TableName")
	}
	return c.call.contract.tables.named(c.call.scope, name)
}

func (c *checker) segment() {
	segment, one := c.whole("Segment")
	total, other := c.whole("TotalSegments")
	switch {
	case one != other:
		c.breaks(Segment, "Segment and TotalSegments come together")
	case one && segment >= total:
		c.breaks(Segment, "want a Segment below TotalSegments")
	}
}

var placeholder = regexp.MustCompile(`[#:][A-Za-z0-9_]+`)

func (c *checker) expressions() {
	var used []string
	for _, name := range []string{"ConditionExpression", "FilterExpression", "KeyConditionExpression", "ProjectionExpression", "UpdateExpression"} {
		text := c.field(name)
		if len(text) > maxExpression {
			c.breaks(Expression, "%s has %d bytes, want %d or fewer", name, len(text), maxExpression)
		}
		used = append(used, placeholder.FindAllString(text, -1)...)
	}
	for _, one := range used {
		if !c.given[one] {
			c.breaks(Expression, "a name or value that an expression uses isn't given")
		}
	}
	for one := range c.given {
		if !slices.Contains(used, one) {
			c.breaks(Expression, "a name or value is given that no expression uses")
		}
	}
}

// batch checks the number of keys and items in a batch, over all tables, and that none is there twice.
func (c *checker) batch() {
	limit := map[string]int{"BatchGetItem": maxGets, "BatchWriteItem": maxWrites}[c.call.op.name]
	if limit == 0 {
		return
	}
	if len(c.found) > limit {
		c.breaks(BatchCount, "%d, want %d or fewer", len(c.found), limit)
	}
	seen := map[string]bool{}
	for _, one := range c.found {
		// Keys are the same whatever the table's description says: attributes, sorted. Items need it.
		of := c.tableOf(one)
		if of == nil {
			if one.role == "Item" {
				continue
			}
			of = asKey(one.list)
		}
		id, ok := of.identity(one.list)
		if !ok {
			continue // reported as no key
		}
		if id = one.table + "\x00" + id; seen[id] {
			c.path = one.path
			c.breaks(UniqueKeys, "the key is in the batch twice")
			c.path = nil
		}
		seen[id] = true
	}
}

// asKey takes all attributes for a key.
func asKey(list []attribute) *table {
	is := &table{}
	for _, one := range list {
		is.keys = append(is.keys, tableKey{one.name, one.kind})
	}
	slices.SortFunc(is.keys, func(a, b tableKey) int { return strings.Compare(a.name, b.name) })
	return is
}

// keyed compares a key or an item with the table's key.
func (c *checker) keyed(a attributes, of *table) {
	limit := maxPartitionKey
	for _, key := range of.keys {
		i := slices.IndexFunc(a.list, func(one attribute) bool { return one.name == key.name })
		switch {
		case i < 0:
			c.breaks(Key, "a key attribute is missing")
		case a.list[i].kind != key.kind:
			c.breaks(Key, "a key attribute has the type %s, want %s", a.list[i].kind, key.kind)
		case key.kind != "N" && (len(a.list[i].text) == 0 || len(a.list[i].text) > limit):
			c.breaks(KeySize, "%d bytes, want 1 to %d", len(a.list[i].text), limit)
		}
		limit = maxSortKey
	}
	switch a.role {
	case "Item":
	case "ExclusiveStartKey", "LastEvaluatedKey":
		c.only(a, of, c.call.index != "")
		if a.role == "ExclusiveStartKey" {
			c.fromSegment(a, of)
		}
	default:
		c.only(a, of, false)
	}
}

// only checks that nothing but key attributes is there; of a read of an index, its key's too.
func (c *checker) only(a attributes, of *table, ofIndex bool) {
	for _, one := range a.list {
		isKey := slices.ContainsFunc(of.keys, func(key tableKey) bool { return key.name == one.name })
		if !isKey && (!ofIndex || of.types[one.name] == "") {
			c.breaks(KeyOnly, "an attribute is not part of the key")
		}
	}
}

// fromSegment checks that no other segment of a Scan with as many has ended a page at the key. Where none has, nothing is known.
func (c *checker) fromSegment(a attributes, of *table) {
	segment, one := c.whole("Segment")
	total, other := c.whole("TotalSegments")
	id, ok := of.identity(a.list)
	if !one || !other || !ok || c.call.index != "" {
		return
	}
	if from, known := of.segmentOf(total, id); known && from != segment {
		c.breaks(StartKey, "the key is of the segment %d of %d, not of %d", from, total, segment)
	}
}

// answer checks what the model doesn't say of an answer of DynamoDB, and notes what it tells.
func (c *checker) answer() {
	call := c.call
	for _, one := range c.found {
		if one.role != "LastEvaluatedKey" {
			continue
		}
		of := call.contract.tables.named(call.scope, call.table)
		if of == nil {
			continue
		}
		c.path = one.path
		c.keyed(one, of)
		c.path = nil
		if id, ok := of.identity(one.list); ok && call.total > 0 && call.index == "" {
			of.ended(call.total, call.segment, id)
		}
	}
	switch call.op.name {
	case "DescribeTable", "CreateTable", "UpdateTable", "DeleteTable":
		call.contract.tables.learn(call.scope, call.op.name, c.data)
	}
}

// common are the errors that any operation may answer with (API Reference, "Common Errors"; Developer Guide, "Error handling with DynamoDB").
var common = []string{
	"AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "IncompleteSignatureException", "InternalFailure",
	"InternalServerError", "InvalidClientTokenId", "InvalidSignatureException", "MalformedHttpRequestException", "MissingAuthenticationToken",
	"MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired", "RequestAbortedException", "RequestEntityTooLargeException",
	"RequestExpired", "RequestLimitExceeded", "RequestTimeoutException", "SerializationException", "ServiceUnavailable", "ServiceUnavailableException",
	"SignatureDoesNotMatch", "Throttling", "ThrottlingException", "UnknownOperationException", "UnrecognizedClientException", "ValidationError",
	"ValidationException",
}

// failure checks an error.
func (c *checker) failure(status int) {
	var out struct {
		Type    string `json:"__type"`
		Code    string `json:"code"`
		Message *string
	}
	if err := json.Unmarshal(c.data, &out); err != nil {
		if status < 500 && status != 413 { // those may be a load balancer's
			c.breaks(JSON, "want an error in JSON")
		}
		return
	}
	code := out.Type[strings.LastIndexByte(out.Type, '#')+1:]
	switch {
	case code == "" && out.Code == "":
		c.breaks(Exception, "want a __type")
	case code != "" && !slices.Contains(common, code) && !c.call.service.exceptions[code]:
		c.breaks(Exception, "%s", fmt.Sprintf("%s has no error %q", c.call.service.name, code))
	}
}
