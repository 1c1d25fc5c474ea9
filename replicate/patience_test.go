package replicate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/call"
	"reseal/internal/refuse"
	"reseal/internal/stream"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// errLost is what is known of a write without an answer.
var errLost = errors.New("connection reset")

// failing fails an operation for a while after the start.
func failing(s *fakeStream, op string, err error, during time.Duration) {
	start := time.Now()
	s.before = func(_ context.Context, now, _ string) error {
		if now == op && (op != "DescribeStream" || len(s.made(op)) > 1) && time.Since(start) < during {
			return err
		}
		return nil
	}
}

// A replication that runs as a service outlives what passes, and tells of it while it lasts.
func TestOutagesPass(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fails func(m *memory, s *fakeStream, during time.Duration)
	}{
		{"reads fail", func(_ *memory, s *fakeStream, during time.Duration) { failing(s, "GetRecords", errServer, during) }},
		{"reads are denied", func(_ *memory, s *fakeStream, during time.Duration) { failing(s, "GetRecords", errDenied, during) }},
		{"iterators are denied", func(_ *memory, s *fakeStream, during time.Duration) {
			failing(s, "GetShardIterator", errDenied, during)
		}},
		{"listings are denied", func(_ *memory, s *fakeStream, during time.Duration) { failing(s, "DescribeStream", errDenied, during) }},
		{"reads are throttled", func(_ *memory, s *fakeStream, during time.Duration) { failing(s, "GetRecords", errLimit, during) }},
		{"writes are denied", func(m *memory, _ *fakeStream, during time.Duration) {
			start := time.Now()
			m.write = func(int) error {
				if time.Since(start) < during {
					return errDenied
				}
				return nil
			}
		}},
		{"at last the table seems to be missing", func(m *memory, _ *fakeStream, during time.Duration) {
			start, once := time.Now(), sync.Once{}
			m.write = func(int) (err error) {
				if time.Since(start) < during {
					return errDenied
				}
				once.Do(func() { err = errGone })
				return err
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const outage = 3 * time.Hour
				m, s := newMemory(), newFake(nil)
				s.add("a", "")
				s.modified("a", "k", "1")
				test.fails(m, s, outage)
				o := m.options(s)
				o.PollInterval = time.Minute
				var mu sync.Mutex
				var longest time.Duration
				var words string
				o.Progress = func(p Progress) {
					mu.Lock()
					defer mu.Unlock()
					if p.Failure != nil && p.Failing > longest {
						longest, words = p.Failing, p.Failure.Error()
						if p.GiveUpIn <= 0 || p.GiveUpIn > 23*time.Hour {
							t.Errorf("it gives up in %s", p.GiveUpIn)
						}
					}
					if p.Failure != nil && p.Elapsed > outage+30*time.Minute {
						t.Errorf("after the outage it tells of %v", p.Failure)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), outage+time.Hour)
				defer cancel()
				if _, err := Run(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error is %v", err)
				}
				if m.value("k") != "1" {
					t.Error("the record is not applied")
				}
				if longest < outage-time.Hour || words == "" {
					t.Errorf("progress told of %s of failures: %s", longest, words)
				}
			})
		})
	}
}

// It gives up an hour before the stream may trim what comes next, or when it is told to.
func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name            string
		giveUp, idle    time.Duration
		err             error
		earliest, until time.Duration
	}{
		{"by default", 0, 0, errDenied, 22*time.Hour + 50*time.Minute, 23*time.Hour + time.Minute},
		{"as told", 6 * time.Hour, 0, errDenied, 5*time.Hour + 50*time.Minute, 6*time.Hour + time.Minute},
		{"until idle", 0, 10 * time.Second, errDenied, 20 * time.Second, 2 * time.Minute},
		{"until idle, throttled", 0, 10 * time.Second, errLimit, 9 * time.Minute, 22 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m, s := newMemory(), newFake(nil)
				s.add("a", "")
				s.modified("a", "k", "1")
				failing(s, "GetRecords", test.err, 100*time.Hour)
				o := m.options(s)
				o.GiveUp, o.UntilIdle = test.giveUp, test.idle
				start := time.Now()
				_, err := Run(t.Context(), o)
				if err == nil || !strings.Contains(err.Error(), "gave up after") || errorCode(err) != errorCode(test.err) {
					t.Errorf("error is %v", err)
				}
				if spent := time.Since(start); spent < test.earliest || spent > test.until {
					t.Errorf("it gave up after %s", spent)
				}
			})
		})
	}
}

func isFinal(err error) bool { return stream.IsFinal(err, (*tailer)(nil).IsFinal) }

// What no repetition makes up for ends it at once.
func TestFinalErrors(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		ErrTrimmed, ErrDisabled, ErrPoison, ErrRefusesAll, table.ErrChanged, refuse.New("a", "b"),
		answerOf(400, &smithy.GenericAPIError{Code: "ValidationException"}), answerOf(400, &smithy.GenericAPIError{Code: "SerializationException"}),
	} {
		if !isFinal(fmt.Errorf("wrapped: %w", err)) {
			t.Errorf("%v would be repeated", err)
		}
	}
	for _, err := range []error{
		errLost, errDenied, errServer, errLimit, errExpired, answerOf(400, &smithy.GenericAPIError{Code: "ExpiredTokenException"}),
		answerOf(400, &smithy.GenericAPIError{Code: "ValidationException", Message: "KMS key disabled error: of the target"}),
	} {
		if isFinal(err) {
			t.Errorf("%v would not be repeated", err)
		}
	}
}

// A stream that may not be listed at the start is a refusal, before anything is done.
func TestStreamThatCanNotBeListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s := newMemory(), newFake(nil)
		s.before = func(context.Context, string, string) error { return errDenied }
		o := m.options(s)
		o.Checkpoint = filepath.Join(t.TempDir(), "checkpoint.json")
		start := time.Now()
		if _, err := Run(t.Context(), o); !refuse.Is(err) || !strings.Contains(err.Error(), "dynamodb:DescribeStream") || time.Since(start) > time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

// A stream whose first shard isn't listed yet isn't idle.
func TestNotIdleBeforeAShardIsListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s := newMemory(), newFake(nil)
		start := time.Now()
		s.before = func(_ context.Context, op, _ string) error {
			if op == "DescribeStream" && time.Since(start) > time.Hour && len(s.shards) == 0 {
				s.add("a", "")
				s.modified("a", "k", "1")
			}
			return nil
		}
		o := m.options(s)
		o.UntilIdle = 10 * time.Second
		if result, err := Run(t.Context(), o); err != nil || result.Records != 1 || m.value("k") != "1" {
			t.Errorf("%+v, %v", result, err)
		}
	})
}

// A write without an answer may be carried out until its lifetime is over; before that, nothing is done.
func TestNotIdleWhileAWriteMayLandLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s := newMemory(), newFake(nil)
		s.add("a", "")
		s.modified("a", "k", "1")
		m.write = func(before int) error {
			if before == 0 {
				return errLost
			}
			return nil
		}
		o := m.options(s)
		o.UntilIdle = time.Second
		start := time.Now()
		result, err := Run(t.Context(), o)
		if err != nil || result.Uncertain != 1 || m.value("k") != "1" {
			t.Errorf("%+v, %v", result, err)
		}
		if spent, lifetime := time.Since(start), (call.Policy{}).Lifetime(); spent < lifetime || spent > lifetime+time.Minute {
			t.Errorf("it ended after %s", spent)
		}
	})
}

// A table that is made anew, or another stream, ends it with words on what to do.
func TestTablesThatChange(t *testing.T) {
	t.Parallel()
	anew := func(d *types.TableDescription) { d.TableId = aws.String("another") }
	for _, test := range []struct {
		name   string
		table  string
		with   func(*types.TableDescription)
		idle   time.Duration
		remedy string
	}{
		{"target while it follows", "target", anew, 0, "start all over"},
		{"source while it follows", "source", anew, 0, "start all over"},
		{"target before it is idle", "target", anew, time.Second, "start all over"},
		{"stream before it is idle", "source", func(d *types.TableDescription) { d.LatestStreamArn = aws.String("another") }, time.Second, "seed again with --restart"},
		{"no stream before it is idle", "source", func(d *types.TableDescription) { d.StreamSpecification = nil }, time.Second, "seed again with --restart"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m, s := newMemory(), newFake(nil)
				s.add("a", "")
				s.before = func(_ context.Context, op, _ string) error {
					if op == "GetRecords" && len(s.made(op)) == 1 {
						m.change(test.table, test.with)
					}
					return nil
				}
				o := m.options(s)
				o.UntilIdle = test.idle
				start := time.Now()
				_, err := Run(t.Context(), o)
				if !errors.Is(err, table.ErrChanged) || !strings.Contains(err.Error(), test.remedy) || time.Since(start) > 2*lookInterval {
					t.Errorf("after %s: %v", time.Since(start), err)
				}
			})
		})
	}
}

// That the tables can't be described ends nothing but the end.
func TestTablesThatCanNotBeDescribed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s := newMemory(), newFake(nil)
		s.add("a", "")
		deny := func(denied bool) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.denied = denied
		}
		s.before = func(_ context.Context, op, _ string) error {
			if op == "GetRecords" {
				deny(true)
			}
			return nil
		}
		o := m.options(s)
		o.UntilIdle = time.Second
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "describe the source table again") {
			t.Errorf("error is %v", err)
		}
		deny(false)
		o.UntilIdle = 0
		told := false
		o.Progress = func(p Progress) { told = told || p.Failure != nil }
		o.PollInterval = 10 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := Run(ctx, o); !errors.Is(err, context.DeadlineExceeded) || !told {
			t.Errorf("told %t, error is %v", told, err)
		}
	})
}

// A shard that was empty so far is not read from its oldest record on after a day of failures: that may lie behind what was trimmed.
func TestEmptyShardAfterADayOfFailures(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{20 * time.Hour, 30 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			m, s := newMemory(), newFake(nil)
			s.add("a", "")
			var begun time.Time
			s.before = func(_ context.Context, op, _ string) error {
				switch {
				case op != "GetRecords":
				case begun.IsZero():
					begun = time.Now()
				case time.Since(begun) < outage:
					return errExpired
				}
				return nil
			}
			o := m.options(s)
			o.UntilIdle, o.GiveUp = 10*time.Second, 40*time.Hour
			if _, err := Run(t.Context(), o); errors.Is(err, ErrTrimmed) != (outage > stream.Retention) || outage < stream.Retention && err != nil {
				t.Errorf("after %s: %v", outage, err)
			}
		})
	}
}
