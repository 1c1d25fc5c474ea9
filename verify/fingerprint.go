package verify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/refuse"
	"reseal/internal/room"
	"reseal/internal/scan"
	"reseal/internal/table"
	"reseal/internal/ticker"

	"golang.org/x/sync/errgroup"
)

// FingerprintAPI is what a fingerprint asks of the table's client; *dynamodb.Client has it.
type FingerprintAPI interface {
	table.DescribeAPI
	scan.API
}

// FingerprintOptions says of what to take a fingerprint, and how.
type FingerprintOptions struct {
	API   FingerprintAPI
	Table string // name or ARN

	Segments  int     // of the parallel Scan, 1 to 1,000,000
	ReadUnits float64 // units a second; 0: see ReadShare
	ReadShare float64 // likewise as a part, up to 1, of what the table has; 0: 0.8 if provisioned, else what it serves

	// Secret keys the fingerprint: who hasn't it can neither test a guess of the items against the fingerprint nor make other items
	// that have the same. nil: the fingerprint is the one that Run gives.
	Secret []byte

	KeepExpired bool // as in Options

	// ExpiredBy are the attributes by which items expire instead of the table's own: of the target of a copy, the source's. What only the
	// target deletes is lost, and left out it wouldn't be seen. nil: the table's own.
	ExpiredBy []string
	AsOf      time.Time // when items must have expired to be left out; zero: now, by the service's clock

	Progress       func(FingerprintProgress) // called about once a second and at the end; may be nil
	RequestTimeout time.Duration             // of one request; 0: 20 s
}

// FingerprintProgress is how far a fingerprint has come.
type FingerprintProgress struct {
	Items     int64
	Expected  int64 // the table's ItemCount, up to six hours old
	ReadUnits float64
	ReadLimit float64 // units a second that the reads are held to at present; 0: none
	Throttled int64
	Elapsed   time.Duration
}

// TableFingerprint stands for the items of a table, in no order: two tables with the same items have the same, at the same secret.
type TableFingerprint struct {
	Table       string   `json:"table"`
	Items       int64    `json:"items"`
	Fingerprint string   `json:"fingerprint"` // 64 hexadecimal digits
	Keyed       bool     `json:"keyed"`       // with a secret
	Expired     int64    `json:"expired"`     // items that were left out, since their time to live had passed
	ExpiredBy   []string `json:"expired_by"`  // attributes
	AsOf        string   `json:"as_of"`       // when they had to have expired: RFC 3339, UTC
	TimeToLive  string   `json:"time_to_live"`
	BeganAt     string   `json:"began_at"` // when the scans began, by the service's clock: likewise
	ReadUnits   float64  `json:"read_units"`
	Throttled   int64    `json:"throttled"`

	ReadLimit capacity.Taken `json:"read_limit"` // what the reads were held to

	ElapsedSeconds float64 `json:"elapsed_seconds"`
}

// fingerprint is one in the making.
type fingerprint struct {
	options FingerprintOptions
	info    table.Info
	limiter *capacity.Limiter
	scanner *scan.Scanner
	room    *room.Room
	policy  call.Policy
	expiry  expiry
	start   time.Time
	began   time.Time // by the service's clock

	read    atomic.Int64 // items that the Scan returned
	expired atomic.Int64
	mu      sync.Mutex // of sum
	sum     item.Sum
}

// Fingerprint reads a table once, by eventually consistent Scans, and returns the number of its items and the sum, modulo 2^256, of
// their digests: the SHA-256 of each item's canonical encoding, or with a Secret the HMAC-SHA256 (RFC 2104) of that. It is that
// of one moment only if nobody writes meanwhile, or did in the seconds before. A table that was replaced meanwhile is an error. It returns an error that is [ErrRefused] if it did
// nothing; every page that can't be read is an error.
func Fingerprint(ctx context.Context, options FingerprintOptions) (TableFingerprint, error) {
	p, err := prepareFingerprint(ctx, options)
	if err != nil {
		return TableFingerprint{}, err
	}
	stop := ticker.Report(progressInterval, options.Progress, p.progress)
	if err = p.scan(ctx); err == nil {
		err = p.confirm(ctx)
	}
	stop()
	if err != nil {
		return TableFingerprint{}, err
	}
	return p.result(), nil
}

func prepareFingerprint(ctx context.Context, o FingerprintOptions) (*fingerprint, error) {
	budget := capacity.Budget{Units: o.ReadUnits, Share: o.ReadShare}
	if err := checkScan(o.Segments, budget); err != nil {
		return nil, err
	}
	if o.Secret != nil && len(o.Secret) == 0 {
		return nil, refuse.New("give one, or leave it out for a fingerprint without", "the secret is empty")
	}
	info, err := table.Await(ctx, o.API, table.OnlyTable, o.Table)
	if err != nil {
		return nil, err
	}
	policy := call.Policy{Timeout: o.RequestTimeout}
	limiter := budget.ReadLimiter(info.Raw)
	p := &fingerprint{
		options: o, info: info, limiter: limiter, room: room.New(pageMemory), policy: policy, start: time.Now(), began: info.Clock.Now(),
		scanner: &scan.Scanner{API: o.API, Table: o.Table, Schema: info.Schema, Limiter: limiter, Policy: policy},
	}
	if p.options.AsOf.IsZero() {
		p.options.AsOf = p.began
	}
	return p, p.lookAtExpiry(ctx)
}

func (p *fingerprint) lookAtExpiry(ctx context.Context) error {
	p.expiry = expiryOf(ctx, p.options.API, p.options.Table, p.policy.AttemptTimeout())
	setting := p.expiry.setting
	switch {
	case p.options.KeepExpired:
		p.expiry = expiry{setting: setting}
	case len(p.options.ExpiredBy) > 0:
		p.expiry = expiryBy(p.options.ExpiredBy...)
		p.expiry.setting = setting
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read table configuration: %w", err)
	}
	return nil
}

// confirm looks at the table again, as a verification does.
func (p *fingerprint) confirm(ctx context.Context) error {
	return again(ctx, p.policy, func() error {
		if _, err := p.info.Again(ctx, p.options.API); err != nil {
			return err
		}
		now := expiryOf(ctx, p.options.API, p.options.Table, p.policy.AttemptTimeout())
		if err := ctx.Err(); err != nil {
			return err
		}
		return p.expiry.confirm(now.setting, p.info.Side)
	})
}

// scan reads all segments. An error of any page is an error of the whole.
func (p *fingerprint) scan(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(min(p.options.Segments, maxActiveSegments))
	for segment := range scan.Spread(p.options.Segments) {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error { return p.scanSegment(groupCtx, segment) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err() // the loop may have ended early without an error of a segment
}

func (p *fingerprint) scanSegment(ctx context.Context, segment int) error {
	var sum item.Sum
	var after *item.Key
	for {
		next, err := p.page(ctx, segment, after, &sum)
		if err != nil {
			return fmt.Errorf("read table: %w", err)
		}
		if after = next; after == nil {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sum.AddSum(sum)
	return nil
}

// page adds the items of a page, and returns where the next one starts.
func (p *fingerprint) page(ctx context.Context, segment int, after *item.Key, sum *item.Sum) (*item.Key, error) {
	place, err := p.room.Enter(ctx, false)
	if err != nil {
		return nil, err
	}
	defer place.Leave()
	page, err := p.scanner.Page(ctx, segment, p.options.Segments, after)
	if err != nil {
		return nil, err
	}
	defer page.Release()
	place.Holds(page.Items)
	for _, it := range page.Items {
		if p.expiry.expired(it, p.options.AsOf) {
			p.expired.Add(1)
			continue
		}
		digest, err := it.Digest()
		if err != nil {
			return nil, fmt.Errorf("segment %d: %w", segment, err)
		}
		sum.Add(p.keyed(digest))
	}
	p.read.Add(int64(len(page.Items)))
	return page.Next, nil
}

// keyed is the digest that counts. Each is keyed by itself: a sum that is keyed as a whole could be that of other items, which
// who knows their digests can choose to make it so.
func (p *fingerprint) keyed(digest item.Digest) item.Digest {
	if p.options.Secret == nil {
		return digest
	}
	mac := hmac.New(sha256.New, p.options.Secret)
	_, _ = mac.Write(digest[:]) // never fails (hash.Hash)
	return item.Digest(mac.Sum(nil))
}

func (p *fingerprint) progress() FingerprintProgress {
	return FingerprintProgress{
		Items: p.read.Load(), Expected: p.info.Items, ReadUnits: p.limiter.Used(), ReadLimit: p.limiter.Rate(), Throttled: p.limiter.Throttled(), Elapsed: time.Since(p.start),
	}
}

func (p *fingerprint) result() TableFingerprint {
	by := p.expiry.attributes
	if by == nil {
		by = []string{}
	}
	return TableFingerprint{
		Table: p.options.Table, Items: p.read.Load() - p.expired.Load(), Fingerprint: p.sum.String(), Keyed: p.options.Secret != nil,
		Expired: p.expired.Load(), ExpiredBy: by, AsOf: p.options.AsOf.UTC().Format(time.RFC3339), TimeToLive: p.expiry.setting, BeganAt: instant(p.began),
		ReadUnits: p.limiter.Used(), Throttled: p.limiter.Throttled(), ReadLimit: p.limiter.Taken(), ElapsedSeconds: time.Since(p.start).Seconds(),
	}
}
