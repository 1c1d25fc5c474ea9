package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"reseal/internal/item"
	"reseal/internal/jsonwalk"
	"reseal/internal/wire"

	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
)

// Page is what an answer of GetRecords, or an event of a Lambda, holds.
type Page struct {
	Records []Record // of one that can't be read only what could be
	Unread  *Unread  // the first one that can't be read; nil: all can
	Next    *string  // NextShardIterator; nil: the shard has no more records and gets no more
}

// Unread is a record that can't be read.
type Unread struct {
	Index    int    // in the page
	Sequence string // its sequence number; it may lack one
	Err      error
}

// add adds a record, which can't be read for the reason in err.
func (p *Page) add(record Record, err error) {
	if err != nil && p.Unread == nil {
		p.Unread = &Unread{Index: len(p.Records), Sequence: record.Sequence, Err: err}
	}
	p.Records = append(p.Records, record)
}

// getRecords makes one GetRecords request and reads its answer.
func (t *Follower) getRecords(ctx context.Context, in *dynamodbstreams.GetRecordsInput) (Page, error) {
	client, is := wire.StreamsClient(t.options.API)
	if !is {
		out, err := t.options.API.GetRecords(ctx, in, onceStreams)
		if err != nil {
			return Page{}, err
		}
		return ConvertPage(t.options.Schema, t.options.ARN, out), nil
	}
	var exchange wire.Exchange
	if _, err := client.GetRecords(ctx, in, onceStreams, exchange.UseStreams); err != nil {
		return Page{}, err
	}
	found, err := ReadPage(t.options.Schema, t.options.ARN, exchange.Answer)
	if err != nil {
		return Page{}, fmt.Errorf("read answer: %w", err)
	}
	return found, nil
}

// ConvertPage reads the answer of a client that isn't the SDK's.
func ConvertPage(schema item.Schema, stream string, out *dynamodbstreams.GetRecordsOutput) Page {
	found := Page{Records: make([]Record, 0, len(out.Records)), Next: out.NextShardIterator}
	for _, record := range out.Records {
		found.add(fromStream(schema, stream, record))
	}
	return found
}

// errNoRecords: an answer that lost its records must not pass for one that found none.
var errNoRecords = errors.New("it is not whole: it has no Records, not even an empty list")

// ReadPage reads an answer of GetRecords or an event of a Lambda, which tell of records in the same JSON. stream is the ARN for
// records that don't say theirs. The images stay the bytes that they came in and share the text's memory; nothing else of the page
// does. With an error the page has the records before it.
func ReadPage(schema item.Schema, stream string, text []byte) (Page, error) {
	r := pageReader{Reader: jsonwalk.Reader{Data: text}, schema: schema, stream: stream}
	err := r.Entries(r.entry)
	if err == nil {
		err = r.End()
	}
	if err == nil && !r.whole {
		err = errNoRecords
	}
	return r.page, err
}

// identity is whom a record names, if anybody.
type identity struct{ kind, principal string }

// pageReader reads a page, one record after the other.
type pageReader struct {
	jsonwalk.Reader
	schema item.Schema
	stream string
	page   Page
	whole  bool // Records were there

	record      Record // the one that is being read
	keys, image item.Item
	by          identity
	unread      error  // why it can't be
	named       string // the last eventSourceARN
}

func (r *pageReader) entry(name []byte) (err error) {
	switch string(name) {
	case "Records":
		if r.whole = !r.Null(); r.whole {
			err = r.Elements(r.readRecord)
		}
	case "NextShardIterator":
		if r.page.Next = nil; !r.Null() {
			var next string
			next, err = r.PlainText()
			r.page.Next = &next
		}
	default:
		err = r.Skip()
	}
	return err
}

func (r *pageReader) readRecord() error {
	r.record, r.keys, r.image, r.by, r.unread = Record{Stream: r.stream}, item.Item{}, item.Item{}, identity{}, nil
	if !r.Null() {
		if err := r.Entries(r.recordEntry); err != nil {
			return err
		}
	}
	r.record.Expired = isExpiry(r.record.Event, r.by.kind, r.by.principal)
	err := r.unread
	switch {
	case r.record.Sequence == "":
		err = errNoSequence
	case err == nil:
		err = r.record.fill(r.schema, r.keys, r.image)
	}
	r.page.add(r.record, err)
	return nil
}

func (r *pageReader) recordEntry(name []byte) (err error) {
	switch string(name) {
	case "eventName":
		r.record.Event, err = r.text(eventNames...)
	case "eventSourceARN":
		r.record.Stream, err = r.text(r.named)
		r.named = r.record.Stream // most likely the next one's, too
	case "dynamodb":
		if !r.Null() {
			err = r.Entries(r.changeEntry)
		}
	case "userIdentity":
		if !r.Null() {
			err = r.Entries(r.identityEntry)
		}
	default:
		err = r.Skip()
	}
	return err
}

// identityEntry takes whom a record names. DynamoDB Streams and Lambda spell the names in their own ways.
func (r *pageReader) identityEntry(name []byte) (err error) {
	switch {
	case bytes.EqualFold(name, []byte("type")):
		r.by.kind, err = r.text(serviceType)
	case bytes.EqualFold(name, []byte("principalId")):
		r.by.principal, err = r.text(servicePrincipal)
	default:
		err = r.Skip()
	}
	return err
}

func (r *pageReader) changeEntry(name []byte) (err error) {
	switch string(name) {
	case "SequenceNumber":
		r.record.Sequence, err = r.text()
	case "ApproximateCreationDateTime":
		r.record.Made, err = r.epochSeconds()
	case "Keys":
		r.keys, err = r.readItem("keys")
	case "NewImage":
		r.image, err = r.readItem("new image")
	default: // the old image, among others
		err = r.Skip()
	}
	return err
}

// readItem takes an item. If that can't be read, the record can't, but those around it can.
func (r *pageReader) readItem(what string) (item.Item, error) {
	start := r.At
	it, err := wire.Item(&r.Reader)
	if err == nil {
		return it, nil
	}
	if r.unread == nil {
		r.unread = fmt.Errorf("read stream record's %s: %w", what, err)
	}
	r.At = start
	return item.Item{}, r.Skip()
}

// text takes a string, or null, which is an empty one. Where it is one of those known, it takes no memory of its own.
func (r *pageReader) text(known ...string) (string, error) {
	if r.Null() {
		return "", nil
	}
	raw, escaped, err := r.Text()
	if err != nil {
		return "", err
	}
	if raw, _, err = jsonwalk.Plain(raw, escaped, nil); err != nil {
		return "", err
	}
	for _, one := range known {
		if string(raw) == one {
			return one, nil
		}
	}
	return string(raw), nil
}

// epochSeconds takes a number of seconds since 1970, of which the SDK keeps milliseconds, or null. What is out of range is not known:
// a position's age goes by when the record was read then.
func (r *pageReader) epochSeconds() (time.Time, error) {
	if r.Null() {
		return time.Time{}, nil
	}
	text, err := r.Value()
	if err != nil {
		return time.Time{}, err
	}
	seconds, err := strconv.ParseFloat(string(text), 64)
	const most = 1e12 // the year 33,658
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return time.Time{}, jsonwalk.ErrSyntax
	case math.Abs(seconds) <= most:
		return time.UnixMilli(int64(seconds * 1000)).UTC(), nil
	default:
		return time.Time{}, nil
	}
}
