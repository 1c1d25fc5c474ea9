package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// fate is what becomes of one request.
type fate struct {
	lands   time.Duration // after it was sent, it is carried out; negative: never
	answers time.Duration // after it was sent, there is an answer; negative: never
	err     error         // the answer; nil: what the request asks for
	name    string        // of the fault; "": none
}

// never stands for something that doesn't happen.
const never = -1

// The time-outs of reseal's requests (package call): what a client has sent, it waits for so long, and so long it may be carried out.
const (
	timeout  = 20 * time.Second
	lifetime = 25 * time.Second
)

// answerOf makes an error look as the SDK returns it.
func answerOf(status int, err error) error {
	return &smithy.OperationError{ServiceID: "DynamoDB", OperationName: "Test", Err: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err,
	}}
}

var (
	errThrottle = answerOf(http.StatusBadRequest, &types.ProvisionedThroughputExceededException{})
	errServer   = answerOf(http.StatusInternalServerError, fmt.Errorf("%w: internal server error", errPlanted))
	errCut      = fmt.Errorf("%w: connection cut", errPlanted)
	errDial     = &net.OpError{Op: "dial", Err: fmt.Errorf("%w: connection refused", errPlanted)}
	errDenied   = answerOf(http.StatusBadRequest, fmt.Errorf("%w: %w", errPlanted, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "no"}))
)

// odds is the part of requests that meet a fault, and which ones.
func (pl *plan) odds(role, op string) (float64, []string) {
	switch {
	case op == "BatchWriteItem" && role == seeder && pl.lossy:
		return 0.4, []string{"cut after", "cut, carried out late", "cut, carried out late", "no answer"}
	case op == "BatchWriteItem" && role == seeder && pl.throttling:
		return 0.6, []string{"throttle"}
	case op == "BatchWriteItem" && role == replicator && pl.hole:
		return 0.2, []string{"cut, carried out late", "no answer"}
	case op == "BatchWriteItem" && role == replicator && pl.denying:
		return 0.15, []string{"denied"}
	case op == "GetRecords" && role == follower && time.Now().Before(pl.following.crowded):
		return 0.5, []string{"throttle"}
	case op == "GetRecords" && role == follower:
		return pl.faults / 4, faultNames // who is throttled more is behind, and says so
	}
	return pl.faults, faultNames
}

// fateOf draws the fate of a request. Without a fault it takes a while to get there, and a while to get back.
func (pl *plan) fateOf(random *rand.Rand, role, op string) fate {
	f := fate{lands: between(random, 0, pl.pace)}
	if op == "BatchWriteItem" && role == seeder {
		f.lands = between(random, 0, pl.writePace)
	}
	if most := pl.following.pace(role, op); most > 0 {
		f.lands = between(random, 0, most)
	}
	f.answers = f.lands + between(random, time.Millisecond, pl.pace)
	probability, names := pl.odds(role, op)
	if !chance(random, probability) {
		return f
	}
	switch f.name = oneOf(random, names...); f.name {
	case "throttle":
		f.lands, f.err = never, errThrottle
	case "500 before":
		f.lands, f.err = never, errServer
	case "500 after":
		f.err = errServer
	case "cut before":
		f.lands, f.err = never, errCut
	case "cut after":
		f.err = errCut
	case "cut, carried out late":
		f.err, f.lands = errCut, between(random, 0, lifetime)
		if role == replicator && !pl.hole {
			f.lands = between(random, 0, f.answers)
		}
	case "no answer":
		f.answers, f.lands = never, between(random, 0, lifetime)
		if role == replicator && !pl.hole {
			f.lands = between(random, 0, timeout-time.Second)
		}
	case "slow":
		f.lands = between(random, 0, 5*time.Second)
		f.answers = f.lands + between(random, 0, 5*time.Second)
	case "no connection":
		f.lands, f.err = never, errDial
	case "denied":
		f.lands, f.err = never, errDenied
	}
	return f
}

var faultNames = []string{
	"throttle", "500 before", "500 after", "cut before", "cut after", "cut, carried out late", "no answer", "slow", "no connection", "denied",
}

// send plays a request of the process: it is carried out when its fate says, also if the process has given it up or died
// meanwhile, and answered or not. What is read is of no use unless the error is nil.
func (p *process) send(ctx context.Context, op string, carryOut func(random *rand.Rand)) error {
	if p.isDead() {
		return errKilled
	}
	p.called()
	p.w.begun(p, op)
	p.w.followed.begins(p, op)
	random := dice(p.w.plan.seed, p.role+" "+op, p.w.ordinal(p.role+" "+op))
	f := p.w.plan.fateOf(random, p.role, op)
	if f.name == "denied" && p.w.ordinal("denied to "+p.role) >= 3*p.w.plan.mostTroubles {
		f = fate{lands: 0, answers: p.w.plan.pace} // it ends a process, and those must end by themselves at last
	}
	if f.name != "" {
		p.w.count(f.name)
		p.met()
	}
	done := make(chan struct{})
	if f.lands != never {
		time.AfterFunc(f.lands, func() {
			defer close(done)
			if p.lands || !p.isDead() {
				carryOut(random)
			}
		})
	}
	wait := f.answers
	if wait == never {
		wait = time.Hour // the caller's context ends first
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errPlanted, ctx.Err())
	case <-p.killed:
		return errKilled
	}
	if f.err != nil {
		return f.err
	}
	<-done // it was carried out before, and a timer doesn't say that it is through
	return nil
}

// half draws a part of the elements that is served, and the rest.
func half[E any](random *rand.Rand, all []E) (served, left []E) {
	n := random.IntN(len(all) + 1)
	all = slices.Clone(all)
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:n], all[n:]
}
