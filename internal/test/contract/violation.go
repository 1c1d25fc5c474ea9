package contract

import (
	"fmt"
	"regexp"
	"slices"
)

// Side is who broke the contract.
type Side string

// The sides.
const (
	Request Side = "request"
	Answer  Side = "answer"
)

// Rule is the kind of a rule.
type Rule string

// The rules of the service models.
const (
	Service   Rule = "service"   // a header, target or URI names an operation of the service
	JSON      Rule = "JSON"      // the body is JSON, in UTF-8
	Member    Rule = "member"    // a structure has only the members of its shape
	Duplicate Rule = "duplicate" // no member is there twice
	Type      Rule = "type"      // a value has its shape's type
	Required  Rule = "required"  // what a shape requires is there
	Length    Rule = "length"    // of strings in characters, of blobs in bytes, of lists and maps in elements
	Range     Rule = "range"     // of numbers
	Pattern   Rule = "pattern"   // of strings, as a whole
	Enum      Rule = "enum"      // one of the values that the shape lists
	Exception Rule = "exception" // an error is one that the service has
)

// The rules of DynamoDB's documentation, which the models don't have.
const (
	RequestSize Rule = "request size" // 16 MB
	BatchCount  Rule = "batch count"  // 100 keys, 25 writes, over all tables of a request
	UniqueKeys  Rule = "unique keys"  // in a batch, for each table
	ItemSize    Rule = "item size"    // 400 KB, names and values
	OneValue    Rule = "one value"    // an attribute value has one type, a write request one request
	Number      Rule = "number"       // 38 digits, from 1E-130 to 9.9...E+125
	Set         Rule = "set"          // not empty, no element twice
	Depth       Rule = "depth"        // 32 levels of lists and maps
	Key         Rule = "key"          // the key attributes, all of them, with their types
	KeyOnly     Rule = "key only"     // nothing but the key attributes
	KeySize     Rule = "key size"     // a partition key has 1 to 2048 bytes, a sort key 1 to 1024
	Segment     Rule = "segment"      // Segment and TotalSegments come together, the one below the other
	StartKey    Rule = "start key"    // an ExclusiveStartKey comes from the segment that it is sent to
	TableName   Rule = "table name"   // 3 to 255 of a-z, A-Z, 0-9, _, - and ., or an ARN
	RecordLimit Rule = "record limit" // GetRecords gives 1,000 records at the most
	Expression  Rule = "expression"   // 4 KB; names and values that it uses are given, and those given are used
)

// Rules are all of them.
var Rules = []Rule{
	Service, JSON, Member, Duplicate, Type, Required, Length, Range, Pattern, Enum, Exception,
	RequestSize, BatchCount, UniqueKeys, ItemSize, OneValue, Number, Set, Depth, Key, KeyOnly, KeySize, Segment, StartKey, TableName, RecordLimit, Expression,
}

// Violation is a breach of the contract. It holds nothing of what was in a table: map keys in the path are "*".
type Violation struct {
	Service   string // as botocore's folder is named; "" if it isn't known
	Operation string
	Side      Side
	Path      string // of the member, such as "RequestItems.*[3].PutRequest.Item.*.N"; "" is all of the body
	Rule      Rule
	Detail    string // what was expected
}

func (v Violation) String() string {
	path := v.Path
	if path == "" {
		path = "(all of it)"
	}
	return fmt.Sprintf("%s %s, %s, %s: breaks the rule %q: %s", v.Service, v.Operation, v.Side, path, v.Rule, v.Detail)
}

// Exemption is a kind of violation that is known and let through. An empty field stands for anything.
type Exemption struct {
	Side       Side
	Operations []string
	Path       string // without the numbers of list elements: "Records[].dynamodb"
	Rule       Rule
	Why        string
}

var index = regexp.MustCompile(`\[[0-9]+\]`)

// Covers tells whether the exemption is for the violation.
func (e Exemption) Covers(v Violation) bool {
	return (e.Side == "" || e.Side == v.Side) && (len(e.Operations) == 0 || slices.Contains(e.Operations, v.Operation)) &&
		(e.Path == "" || e.Path == index.ReplaceAllString(v.Path, "[]")) && (e.Rule == "" || e.Rule == v.Rule)
}
