package contract

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
)

// services are the folders of botocore's data that are known, each with its prefix of X-Amz-Target.
var services = map[string]string{
	"application-autoscaling": "AnyScaleFrontendService",
	"cloudwatch":              "GraniteServiceVersion20100801",
	"dynamodb":                "DynamoDB_20120810",
	"dynamodbstreams":         "DynamoDBStreams_20120810",
	"kms":                     "TrentService",
	"lambda":                  "",
	"s3":                      "",
	"sqs":                     "AmazonSQS",
	"stepfunctions":           "AWSStepFunctions",
	"sts":                     "",
}

// forms are those that take the query protocol.
var forms = []string{"cloudwatch", "sts"}

// Models are the models of services. Each is read when it is first needed.
type Models struct {
	files  map[string]string // paths in data
	data   fs.FS
	mu     sync.Mutex
	byName map[string]*service
}

// service is one service's model.
type service struct {
	name       string
	protocols  []string
	version    string // of the API
	operations map[string]*operation
	exceptions map[string]bool // codes
	unchecked  []string        // patterns that Go's expressions don't have
}

type operation struct {
	name          string
	method, uri   string
	input, output *shape // nil: nothing
}

// shape is a type of the model.
type shape struct {
	name     string
	kind     string // botocore's type
	members  map[string]*member
	required []*member
	list     *shape // element
	key      *shape
	value    *shape
	flat     bool // a list or map in a query has no level of its own
	enum     map[string]bool
	min, max *float64
	pattern  *regexp.Regexp
	payload  string
}

type member struct {
	index    int // among the members of the shape
	name     string
	wire     string // name in a body, query, header or URI
	location string // uri, querystring, header, headers; "": the body
	shape    *shape
}

// modelFile is what is read of a service-2.json.
type modelFile struct {
	Metadata struct {
		APIVersion, Protocol, TargetPrefix string
		Protocols                          []string
	}
	Operations map[string]struct {
		Name          string
		HTTP          struct{ Method, RequestURI string }
		Input, Output *struct{ Shape string }
	}
	Shapes map[string]*shapeFile
}

type shapeFile struct {
	Type               string
	Members            map[string]memberFile
	Required           []string
	Member, Key, Value *memberFile
	Flattened          bool
	Enum               []string
	Min, Max           *float64
	Pattern            string
	Payload            string
	Exception          bool
	Error              struct{ Code string }
}

type memberFile struct {
	Shape, Location, LocationName string
}

// Load finds the models of all services, each in its newest version, in botocore's data folder.
func Load(data fs.FS) (*Models, error) {
	m := &Models{files: map[string]string{}, data: data, byName: map[string]*service{}}
	for name := range services {
		versions, err := fs.Glob(data, name+"/*/service-2.json*")
		if err != nil {
			return nil, err
		}
		versions = slices.DeleteFunc(versions, func(file string) bool {
			return !strings.HasSuffix(file, "/service-2.json") && !strings.HasSuffix(file, "/service-2.json.gz")
		})
		if len(versions) == 0 {
			return nil, fmt.Errorf("load model of %s: it isn't there", name)
		}
		m.files[name] = slices.Max(versions) // the version is a date
	}
	return m, nil
}

// service returns the model of a service of this name; nil if there is no such service.
func (m *Models) service(name string) (*service, error) {
	if _, is := m.files[name]; !is {
		return nil, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.byName[name]; s != nil {
		return s, nil
	}
	file, err := readModel(m.data, m.files[name])
	if err != nil {
		return nil, fmt.Errorf("load model of %s: %w", name, err)
	}
	s, err := compile(name, file)
	if err != nil {
		return nil, fmt.Errorf("load model of %s: %w", name, err)
	}
	if services[name] != "" && file.Metadata.TargetPrefix != services[name] {
		return nil, fmt.Errorf("load model of %s: its target is %s", name, file.Metadata.TargetPrefix)
	}
	m.byName[name] = s
	return s, nil
}

func readModel(data fs.FS, name string) (*modelFile, error) {
	f, err := data.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	var r io.Reader = f
	if path.Ext(name) == ".gz" {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	var file modelFile
	if err := json.NewDecoder(r).Decode(&file); err != nil {
		return nil, err
	}
	if len(file.Operations) == 0 || len(file.Shapes) == 0 {
		return nil, errors.New("it has no operations or no shapes")
	}
	return &file, nil
}

// compile resolves the names of shapes.
func compile(name string, file *modelFile) (*service, error) {
	s := &service{
		name: name, version: file.Metadata.APIVersion, protocols: file.Metadata.Protocols,
		operations: map[string]*operation{}, exceptions: map[string]bool{},
	}
	if len(s.protocols) == 0 {
		s.protocols = []string{file.Metadata.Protocol}
	}
	shapes := map[string]*shape{}
	for name := range file.Shapes {
		shapes[name] = &shape{name: name}
	}
	for _, name := range slices.Sorted(maps.Keys(file.Shapes)) {
		from := file.Shapes[name]
		if err := shapes[name].fill(from, shapes, s); err != nil {
			return nil, fmt.Errorf("shape %s: %w", name, err)
		}
		if from.Exception {
			s.exceptions[name] = true
			if from.Error.Code != "" {
				s.exceptions[from.Error.Code] = true
			}
		}
	}
	for _, from := range file.Operations {
		op := &operation{name: from.Name, method: from.HTTP.Method, uri: from.HTTP.RequestURI}
		if from.Input != nil {
			op.input = shapes[from.Input.Shape]
		}
		if from.Output != nil {
			op.output = shapes[from.Output.Shape]
		}
		s.operations[op.name] = op
	}
	return s, s.knowsValues(shapes)
}

// knowsValues fails if AttributeValue has another type than those that this package checks.
func (s *service) knowsValues(shapes map[string]*shape) error {
	value := shapes["AttributeValue"]
	if value == nil || !strings.HasPrefix(s.name, "dynamodb") {
		return nil
	}
	for name := range value.members {
		if !slices.Contains(valueTypes, name) {
			return fmt.Errorf("AttributeValue has a type %s, which is new", name)
		}
	}
	if len(value.members) != len(valueTypes) {
		return errors.New("AttributeValue lacks a type")
	}
	value.kind = "attribute value"
	return nil
}

func (s *shape) fill(from *shapeFile, shapes map[string]*shape, in *service) error {
	s.kind, s.min, s.max, s.flat, s.payload = from.Type, from.Min, from.Max, from.Flattened, from.Payload
	find := func(m *memberFile) (*shape, error) {
		if m == nil {
			return nil, nil
		}
		if found := shapes[m.Shape]; found != nil {
			return found, nil
		}
		return nil, fmt.Errorf("shape %q is not in the model", m.Shape)
	}
	var err [4]error
	s.list, err[0] = find(from.Member)
	s.key, err[1] = find(from.Key)
	s.value, err[2] = find(from.Value)
	if from.Type == "structure" {
		s.members = map[string]*member{}
	}
	for _, name := range slices.Sorted(maps.Keys(from.Members)) {
		of := from.Members[name]
		m := &member{index: len(s.members), name: name, wire: name, location: of.Location}
		if of.LocationName != "" {
			m.wire = of.LocationName
		}
		if m.shape, err[3] = find(&of); err[3] != nil {
			return err[3]
		}
		s.members[m.wire] = m
		if slices.Contains(from.Required, name) {
			s.required = append(s.required, m)
		}
	}
	if len(from.Enum) > 0 {
		s.enum = map[string]bool{}
		for _, one := range from.Enum {
			s.enum[one] = true
		}
	}
	if from.Pattern != "" {
		pattern, bad := regexp.Compile(`\A(?:` + translate(from.Pattern) + `)\z`)
		if bad != nil {
			in.unchecked = append(in.unchecked, s.name)
		}
		s.pattern = pattern
	}
	return errors.Join(err[:]...)
}

var surrogates = regexp.MustCompile(`\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})`)

var escapes = regexp.MustCompile(`\\u([0-9a-fA-F]{4})`)

// translate turns Java's escapes and classes in a regular expression into Go's.
func translate(pattern string) string {
	pattern = surrogates.ReplaceAllStringFunc(pattern, func(pair string) string {
		high, _ := strconv.ParseUint(pair[2:6], 16, 32) // the expression has only hexadecimal digits there
		low, _ := strconv.ParseUint(pair[8:12], 16, 32)
		return fmt.Sprintf(`\x{%X}`, utf16.DecodeRune(rune(high), rune(low)))
	})
	pattern = strings.ReplaceAll(pattern, `\p{Print}`, "[[:print:]]")
	return escapes.ReplaceAllString(pattern, `\x{$1}`)
}
