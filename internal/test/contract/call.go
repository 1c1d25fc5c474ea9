package contract

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// Contract checks what goes to a server, and what comes back. It may be used by several goroutines.
type Contract struct {
	models *Models
	tables *Tables
}

// New returns the contract with a server of whose tables nothing is known but what tables knows, which learns from the answers.
func New(models *Models, tables *Tables) *Contract { return &Contract{models, tables} }

// mostReported is how many violations of one body are reported.
const mostReported = 5

// Call is one request and its answers.
type Call struct {
	contract *Contract
	service  *service
	op       *operation // nil: nothing can be checked
	protocol string
	scope    string // of table names: access key and Region

	// What a request for a page was for.
	table, index   string
	segment, total int

	mu       sync.Mutex
	reported map[Side]int
	send     func(Violation)
}

// Request checks a request and returns the call, whose Answer checks what comes back. Violations go to report, from this goroutine
// or that of Answer.
func (c *Contract) Request(method string, uri *url.URL, header http.Header, body []byte, report func(Violation)) *Call {
	call := &Call{contract: c, send: report, reported: map[Side]int{}}
	credential := call.credential(header)
	call.find(method, uri, header, body, credential)
	if call.op == nil {
		return call
	}
	switch call.protocol {
	case "json":
		call.json(header, body)
	case "query":
		call.query(body)
	case "rest-json", "rest-xml":
		call.rest(uri, header, body)
	}
	return call
}

// Service is the service that the request is for, as botocore's folder is named; "" if it is none of those.
func (c *Call) Service() string {
	if c.service == nil {
		return ""
	}
	return c.service.name
}

// Operation is the request's, "" if it isn't known.
func (c *Call) Operation() string {
	if c.op == nil {
		return ""
	}
	return c.op.name
}

func (c *Call) isDynamoDB() bool {
	return c.service != nil && strings.HasPrefix(c.service.name, "dynamodb")
}

func (c *Call) report(side Side, path string, rule Rule, detail string) {
	c.mu.Lock()
	c.reported[side]++
	n := c.reported[side]
	c.mu.Unlock()
	if n <= mostReported {
		c.send(Violation{Service: c.Service(), Operation: c.Operation(), Side: side, Path: path, Rule: rule, Detail: detail})
	}
}

// credential takes the scope out of the Authorization header (Signature Version 4), and returns the service in it.
func (c *Call) credential(header http.Header) (service string) {
	_, scope, _ := strings.Cut(header.Get("Authorization"), "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	parts := strings.Split(scope, "/")
	if len(parts) < 5 {
		return ""
	}
	c.scope = parts[0] + "/" + parts[2]
	return parts[3]
}

// find finds the operation.
func (c *Call) find(method string, uri *url.URL, header http.Header, body []byte, signed string) {
	if target := header.Get("X-Amz-Target"); target != "" {
		prefix, name, _ := strings.Cut(target, ".")
		c.use(byTarget(prefix), "json", func(*service) string { return name })
		return
	}
	if strings.HasPrefix(header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, _ := url.ParseQuery(string(body)) // what can't be read is missed
		for _, name := range forms {
			if s := c.model(name); s != nil && s.version == form.Get("Version") {
				c.use(name, "query", func(*service) string { return form.Get("Action") })
			}
		}
		return
	}
	if _, of, ok := strings.Cut(uri.Path, "/service/"); ok { // Smithy RPC v2: its CBOR is not read
		target, name, _ := strings.Cut(of, "/operation/")
		c.use(byTarget(target), "cbor", func(*service) string { return name })
		return
	}
	switch signed {
	case "lambda":
		c.use(signed, "rest-json", func(s *service) string { return s.route(method, uri, header) })
	case "s3":
		c.use(signed, "rest-xml", func(s *service) string { return s.route(method, uri, header) })
	}
}

// byTarget is the service of a prefix of X-Amz-Target.
func byTarget(prefix string) string {
	for name, target := range services {
		if target == prefix && prefix != "" {
			return name
		}
	}
	return ""
}

// model returns the model of a service; nil if there is none.
func (c *Call) model(name string) *service {
	s, err := c.contract.models.service(name)
	if err != nil {
		c.report(Request, "", Service, err.Error())
	}
	return s
}

// use sets service and operation, unless the service has no model.
func (c *Call) use(name, protocol string, operation func(*service) string) {
	s := c.model(name)
	if s == nil {
		return
	}
	c.service, c.protocol = s, protocol
	if c.op = s.operations[operation(s)]; c.op == nil {
		c.report(Request, "", Service, "no operation of the service is meant")
	}
}

// json checks a request whose body is all that there is.
func (c *Call) json(header http.Header, body []byte) {
	if kind := header.Get("Content-Type"); !strings.HasPrefix(kind, "application/x-amz-json-1.") {
		c.report(Request, "Content-Type", Service, "want application/x-amz-json-1.0 or -1.1")
	}
	k := &checker{walker: walker{data: body}, call: c, side: Request}
	shape := c.op.input
	if shape == nil {
		shape = &shape0
	}
	k.body(shape, anywhere)
	if k.top == nil || !c.isDynamoDB() {
		return
	}
	c.table, c.index = k.field("TableName"), k.field("IndexName")
	c.segment, _ = k.whole("Segment")
	c.total, _ = k.whole("TotalSegments")
	k.request()
}

// shape0 is that of an operation without input or output.
var shape0 = shape{name: "nothing", kind: "structure"}

// Answer checks an answer. A call may have several, of which the client gets one.
func (c *Call) Answer(status int, body []byte) {
	if c.op == nil || c.protocol != "json" && c.protocol != "rest-json" {
		return // XML and CBOR are not read
	}
	k := &checker{walker: walker{data: body}, call: c, side: Answer}
	if status >= 300 {
		if c.protocol == "json" {
			k.failure(status)
		}
		return
	}
	shape := c.op.output
	if shape == nil {
		shape = &shape0
	}
	if len(body) == 0 && (c.op.output == nil || len(shape.required) == 0 && !c.isDynamoDB()) {
		return
	}
	if c.protocol == "rest-json" {
		if shape.payload == "" {
			k.body(shape, inBody)
		}
		return
	}
	k.body(shape, anywhere)
	if k.top != nil && c.isDynamoDB() {
		k.answer()
	}
}
