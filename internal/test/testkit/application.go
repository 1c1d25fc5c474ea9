package testkit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// ClientAs is Client with the access key of a caller: see Policies.
func ClientAs(url, accessKey string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: &url, Region: Region, HTTPClient: httpClient, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, "secret", ""),
	})
}

// Application writes to a table, and to another one from the moment on at which it goes over. It remembers each write that was acknowledged
// to it. After a write that is denied, or throttled, it tries again. A key of which a write had no answer is not written again, since that
// write may land at any time: it may hold either value.
//
// Each writer has keys of its own, of which it takes one at random for each write; so the writes of a key have an order.
type Application struct {
	names   [2]string
	writers []*writer
	running sync.WaitGroup
	cancel  context.CancelFunc

	mu     sync.Mutex
	known  map[string]*knownKey
	writes int
	waits  wait
	failed error
}

// ApplicationSpec says what an Application is like.
type ApplicationSpec struct {
	SourceTable, TargetTable string
	// Source and Target have a client for each writer, with credentials of its own. Its own retries are not used.
	Source, Target []*dynamodb.Client
	Keys           int     // of all writers together: "app-0" and on, of the key attribute "id"
	Rate           float64 // writes a second of all writers together
}

// writer is one of an application's.
type writer struct {
	number, of, keys int
	sides            [2]*dynamodb.Client
	side             int // where it writes
	waits            wait
}

// knownKey is what a key may hold.
type knownKey struct {
	may    []string // the last acknowledged first, then what came after it without an answer; "": no item
	writer *writer
	at     time.Time // of the last acknowledged
}

// wait measures how long writes were refused.
type wait struct {
	since, until time.Time // of the one that lasts; until zero: now
	longest      time.Duration
}

func (w *wait) refused(at time.Time) {
	if w.since.IsZero() {
		w.since = at
	}
}

func (w *wait) through(at time.Time) {
	if !w.since.IsZero() {
		w.longest = max(w.longest, at.Sub(w.since))
	}
	w.since = time.Time{}
}

func (w *wait) most() time.Duration {
	switch {
	case w.since.IsZero():
		return w.longest
	case w.until.IsZero():
		return max(w.longest, time.Since(w.since))
	}
	return max(w.longest, w.until.Sub(w.since))
}

// StartApplication is Start for writers that share their clients.
func StartApplication(t testing.TB, source, target *dynamodb.Client, sourceTable, targetTable string, writers, keys int, rate float64) *Application {
	t.Helper()
	return ApplicationSpec{
		SourceTable: sourceTable, TargetTable: targetTable, Keys: keys, Rate: rate,
		Source: slices.Repeat([]*dynamodb.Client{source}, writers), Target: slices.Repeat([]*dynamodb.Client{target}, writers),
	}.Start(t)
}

// Start begins to write to the source. It ends with Stop, or with the test.
func (s ApplicationSpec) Start(t testing.TB) *Application {
	t.Helper()
	count := len(s.Source)
	if count == 0 || count != len(s.Target) || s.Keys < count || s.Rate <= 0 {
		t.Fatalf("start application: %d and %d clients, %d keys, rate %g", count, len(s.Target), s.Keys, s.Rate)
	}
	ctx, cancel := context.WithCancel(t.Context())
	a := &Application{names: [2]string{s.SourceTable, s.TargetTable}, cancel: cancel, known: map[string]*knownKey{}}
	pause := time.Duration(float64(count) / s.Rate * float64(time.Second))
	for number := range count {
		w := &writer{number: number, of: count, keys: s.Keys / count, sides: [2]*dynamodb.Client{s.Source[number], s.Target[number]}}
		a.writers = append(a.writers, w)
		a.running.Go(func() { a.run(ctx, w, pause) })
	}
	t.Cleanup(func() { _ = a.Stop() })
	return a
}

// run writes until ctx ends.
func (a *Application) run(ctx context.Context, w *writer, pause time.Duration) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		value := strconv.Itoa(w.number) + "-" + strconv.Itoa(n)
		if rand.IntN(10) == 0 {
			value = ""
		}
		if err := a.write(ctx, w, "app-"+strconv.Itoa(w.number+w.of*rand.IntN(w.keys)), value); err != nil {
			a.mu.Lock()
			a.failed = errors.Join(a.failed, err)
			a.mu.Unlock()
			return
		}
	}
}

// move has some writers write to one side from now on.
func (a *Application) move(side int, writers ...*writer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range writers {
		w.side = side
	}
}

// GoOver has it write to the target from now on.
func (a *Application) GoOver() { a.move(1, a.writers...) }

// GoBack has it write to the source again.
func (a *Application) GoBack() { a.move(0, a.writers...) }

// GoOverOne has one writer write to the target from now on.
func (a *Application) GoOverOne(number int) { a.move(1, a.writers[number]) }

// GoOverSlowly has one writer after the other write to the target, with a pause after each.
func (a *Application) GoOverSlowly(ctx context.Context, pause time.Duration) error {
	for number := range a.writers {
		a.GoOverOne(number)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	return nil
}

// Stop ends the writers, and returns what kept one from writing other than a denial.
func (a *Application) Stop() error {
	a.cancel()
	a.running.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.writers {
		w.waits.end()
	}
	a.waits.end()
	return a.failed
}

// end keeps what lasts from growing.
func (w *wait) end() {
	if w.until.IsZero() {
		w.until = time.Now()
	}
}

// Waited is the longest time in which no write of any writer was let through, from the first denied one on. One that lasts counts.
func (a *Application) Waited() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waits.most()
}

// WaitedEach is the longest time of each writer in which none of its writes was let through, from a denied one on.
func (a *Application) WaitedEach() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []time.Duration
	for _, w := range a.writers {
		list = append(list, w.waits.most())
	}
	return list
}

// Writes is how many writes were acknowledged.
func (a *Application) Writes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.writes
}

// Unknown is how many writes had no answer.
func (a *Application) Unknown() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, one := range a.known {
		n += len(one.may) - 1
	}
	return n
}

// write puts, updates or deletes an item.
func (a *Application) write(ctx context.Context, w *writer, key, value string) error {
	a.mu.Lock()
	side, is := w.side, a.known[key]
	if is == nil {
		is = &knownKey{may: []string{""}, writer: w} // there was no such item: the keys are the application's own
		a.known[key] = is
	}
	aside := len(is.may) > 1
	a.mu.Unlock()
	if aside {
		return nil
	}
	began := time.Now()
	err := send(context.WithoutCancel(ctx), w.sides[side], a.names[side], key, value)
	answered := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	switch outcomeOf(err) {
	case acknowledged:
		a.waits.through(answered)
		w.waits.through(answered)
		is.may, is.at = []string{value}, answered
		a.writes++
	case denied:
		a.waits.refused(began)
		w.waits.refused(began)
	case unknown:
		is.may = append(is.may, value)
	case refused:
		return fmt.Errorf("application: write to %s: %w", a.names[side], err)
	}
	return nil
}

// outcome is what an answer says of a write.
type outcome int

const (
	acknowledged outcome = iota
	denied
	throttled
	unknown
	refused
)

func outcomeOf(err error) outcome {
	var api smithy.APIError
	switch {
	case err == nil:
		return acknowledged
	case !errors.As(err, &api):
		return unknown
	}
	switch api.ErrorCode() {
	case "AccessDeniedException":
		return denied
	case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded":
		return throttled
	case "InternalServerError", "InternalFailure", "ServiceUnavailable", "ServiceUnavailableException":
		return unknown // "the write may or may not have been made"
	}
	return refused
}

// send sends a write once.
func send(ctx context.Context, client *dynamodb.Client, table, key, value string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	once := func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} } // a retry would hide a lost attempt behind its own answer
	id := map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: key}}
	written := &types.AttributeValueMemberS{Value: value}
	var err error
	switch {
	case value == "":
		_, err = client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &table, Key: id}, once)
	case rand.IntN(2) == 0:
		_, err = client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: &table, Key: id, UpdateExpression: aws.String("SET written = :w"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":w": written},
		}, once)
	default:
		id["written"] = written
		_, err = client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: id}, once)
	}
	return err
}

// Lost returns the keys of which the table that their writer writes to has something else than was written last. Call it after Stop. The
// client must be one whom nothing is denied, and see both tables.
func (a *Application) Lost(t testing.TB, client *dynamodb.Client) []string {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []string
	for side, name := range a.names {
		ofSide := func(w *writer) bool { return w.side == side }
		if slices.ContainsFunc(a.writers, ofSide) {
			list = append(list, a.lost(t, client, name, ofSide)...)
		}
	}
	return list
}

// LostOn is Lost for one table, whoever writes to it.
func (a *Application) LostOn(t testing.TB, client *dynamodb.Client, table string) []string {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost(t, client, table, func(*writer) bool { return true })
}

func (a *Application) lost(t testing.TB, client *dynamodb.Client, table string, of func(*writer) bool) []string {
	t.Helper()
	found := map[string]string{}
	for _, one := range ScanAll(t, client, table) {
		id, is := one["id"].(*types.AttributeValueMemberS)
		if !is {
			continue
		}
		found[id.Value] = "an item that no writer has written"
		if written, has := one["written"].(*types.AttributeValueMemberS); has {
			found[id.Value] = written.Value
		}
	}
	var list []string
	for key, is := range a.known {
		if of(is.writer) && !slices.Contains(is.may, found[key]) {
			list = append(list, fmt.Sprintf("%s of %s is %q, and may be %q, acknowledged at %s to writer %d",
				key, table, found[key], is.may, is.at.UTC().Format("15:04:05.000"), is.writer.number))
		}
	}
	slices.Sort(list)
	return list
}
