package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reseal/internal/call"
	"reseal/internal/table"
)

// oldest is how old the scans of a checkpoint may be. What goes on from one is never a match, but says what differs; after a week
// too much may have changed for that to be worth a run.
const oldest = 7 * 24 * time.Hour

// mostAhead is how much later than now, by the service's clock, a time that was noted by the same clock may be.
const mostAhead = time.Minute

// instant is a time by the service's clock, to the second: an earlier one, never a later one.
func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// began returns when the scans did; the zero time if that was not noted yet by the version of reseal that wrote the file.
func (h checkpointHead) began() (time.Time, error) {
	if h.Began == "" {
		return time.Time{}, nil
	}
	began, err := time.Parse(time.RFC3339, h.Began)
	if err != nil || began.IsZero() {
		return time.Time{}, errors.New("the time at which it began is none")
	}
	return began, nil
}

// hasNothing tells whether no page was read when the file was written.
func (h checkpointHead) hasNothing() bool {
	for _, open := range h.Open {
		for _, one := range []openCursor{open.Source, open.Target} {
			if one.Done || len(one.After) > 0 {
				return false
			}
		}
	}
	return len(h.Done) == 0 && h.Matched == 0 && h.SourceRead == 0 && h.TargetRead == 0 && h.SourceExpired == 0 && h.TargetExpired == 0
}

// outdated says why nobody should go on from scans that began then; "" if one may.
func (c *checkpoint) outdated(began time.Time) string {
	age := c.run.clock.Now().Sub(began)
	switch {
	case began.IsZero():
		return "an earlier version of reseal wrote it, which did not note when it began"
	case age > oldest:
		return fmt.Sprintf("its scans began at %s, more than %d days ago", instant(began), oldest/(24*time.Hour))
	case age < -mostAhead:
		return fmt.Sprintf("its scans began at %s, which is in the future", instant(began))
	}
	return ""
}

// confirm looks at the tables again when all items are looked at: what was seen is of these tables, and under these rules, only if they
// are still the same. The configuration is read now, too: a verdict that counts it is not to rest on what it was before the scans.
func (r *run) confirm(ctx context.Context) error {
	return again(ctx, r.policy, func() error {
		now, err := r.pair.Again(ctx, r.options.Source, r.options.Target, true)
		if err != nil {
			return err
		}
		if r.options.Encryption != table.EncryptionAny && now.Target.Encryption() != r.pair.Target.Encryption() {
			return fmt.Errorf("%w: the target's encryption was %s, and is now %s", table.ErrChanged, r.pair.Target.Encryption(), now.Target.Encryption())
		}
		r.result.Encryption = now.Target.Encryption()
		if r.result.Settings, err = configuration(ctx, r.options, now, r.policy.AttemptTimeout()); err != nil {
			return err
		}
		r.result.Configuration = differing(r.result.Settings)
		r.result.Warnings = warnings(r.result.Settings)
		return r.expiry.confirm(r.result.Settings[whereTimeToLive].Source, "source")
	})
}

// again calls look until it succeeds, finds a change, or has failed for a while: a moment's fault of the network is not to cost a
// whole verification.
func again(ctx context.Context, policy call.Policy, look func() error) error {
	policy.GiveUp = 3 * policy.AttemptTimeout()
	repeat := policy.Start()
	for {
		err := look()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && !errors.Is(err, table.ErrChanged) {
			if err = repeat.Again(ctx, call.Unknown, err); err == nil {
				continue
			}
		}
		return fmt.Errorf("look at the tables again: %w", err)
	}
}

// confirm compares the time to live with what it was when items began to be left out by it.
func (e expiry) confirm(setting, side string) error {
	switch {
	case !e.isOwn || setting == e.setting:
		return nil
	case setting == NotChecked:
		return fmt.Errorf("read the %s's time to live again: it can't be had", side)
	}
	return fmt.Errorf("%w: items were left out since the time to live of the %s was %s, and it is now %s: start over", table.ErrChanged, side, e.setting, setting)
}

// warnings are what nobody should overlook, --strict or not.
func warnings(settings []Setting) []string {
	list := []string{}
	for _, s := range settings {
		if s.What != whatTimeToLive || !s.Differs() {
			continue
		}
		text := fmt.Sprintf("time to live: source %s, target %s. %s", s.Source, s.Target, s.Consequence)
		if s.Source == NotChecked {
			text += " No item was left out as expired."
		}
		list = append(list, text)
	}
	return list
}
