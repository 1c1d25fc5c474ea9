package item

import (
	"errors"

	"reseal/internal/jsonwalk"
)

// reader walks DynamoDB JSON. It takes nothing on trust that a later step relies on: the nesting, the commas, the types; but it leaves
// the insides of numbers and of base64 to whoever uses them.
type reader struct{ jsonwalk.Reader }

func readerAt(raw []byte, at int) reader { return reader{jsonwalk.Reader{Data: raw, At: at}} }

// The errors of a reader don't say where or what: the text is somebody's data.
var (
	errSyntax    = jsonwalk.ErrSyntax
	errType      = errors.New("unsupported attribute type")
	errTooDeep   = errors.New("attribute is nested too deeply")
	errNameTwice = errors.New("attribute name comes twice")
)

// maxDepth bounds the recursion. DynamoDB nests 32 levels at the most (developer guide, "Quotas").
const maxDepth = 128

// open takes the beginning of an attribute value, as in {"S":, and returns the type's tag in the canonical encoding (tagTrue for
// both booleans).
func (r *reader) open() (byte, error) {
	if d := r.Data[r.At:]; len(d) > 5 && d[0] == '{' && d[1] == '"' && d[3] == '"' && d[4] == ':' { // as every engine writes them
		r.At += 5
		return kindOf(d[2:3])
	}
	switch c := r.Peek(); c {
	case '{':
		r.At++
	case 'n': // null, which the SDK's older decoder takes for nothing
		return 0, errNoValue
	default:
		return 0, errSyntax
	}
	if r.Peek() == '}' {
		return 0, errNoValue
	}
	name, escaped, err := r.Name()
	if err != nil {
		return 0, err
	}
	if escaped {
		return 0, errType
	}
	return kindOf(name)
}

func kindOf(name []byte) (byte, error) {
	switch string(name) {
	case "S":
		return tagString, nil
	case "N":
		return tagNumber, nil
	case "B":
		return tagBinary, nil
	case "BOOL":
		return tagTrue, nil
	case "NULL":
		return tagNull, nil
	case "L":
		return tagList, nil
	case "M":
		return tagMap, nil
	case "SS":
		return tagStringSet, nil
	case "NS":
		return tagNumberSet, nil
	case "BS":
		return tagBinarySet, nil
	}
	return 0, errType
}

// null takes what a NULL holds. DynamoDB writes true, and takes nothing else.
func (r *reader) null() error {
	is, err := r.Boolean()
	if err == nil && !is {
		return errSyntax
	}
	return err
}
