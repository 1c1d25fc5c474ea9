package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// condition is one key of one operator. All of a statement's must hold.
type condition struct {
	holds func(*Request) bool
}

// The keys, in lower case: IAM takes them in any.
const (
	currentTime  = "aws:currenttime"
	principalARN = "aws:principalarn"
)

// dates compare the time of the request with that of the policy.
var dates = map[string]func(now, then time.Time) bool{
	"DateEquals":            func(now, then time.Time) bool { return now.Equal(then) },
	"DateNotEquals":         func(now, then time.Time) bool { return now.Equal(then) },
	"DateLessThan":          func(now, then time.Time) bool { return now.Before(then) },
	"DateLessThanEquals":    func(now, then time.Time) bool { return !now.After(then) },
	"DateGreaterThan":       func(now, then time.Time) bool { return now.After(then) },
	"DateGreaterThanEquals": func(now, then time.Time) bool { return !now.Before(then) },
}

// names compare an ARN with that of the policy.
var names = map[string]func(is, pattern string) bool{
	"ArnEquals": likeARN, "ArnLike": likeARN, "ArnNotEquals": likeARN, "ArnNotLike": likeARN, // IAM has two words for the same
	"StringEquals": equal, "StringNotEquals": equal, "StringLike": like, "StringNotLike": like,
}

func equal(is, other string) bool { return is == other }

func newCondition(operator, key string, data json.RawMessage) (condition, error) {
	values, err := texts("value of "+key, data)
	if err != nil {
		return condition{}, err
	}
	date, name := dates[operator], names[operator]
	var matches func(*Request, string) bool
	switch lower := strings.ToLower(key); {
	case date != nil && lower == currentTime:
		for _, value := range values {
			if _, err := parseTime(value); err != nil {
				return condition{}, err
			}
		}
		matches = func(r *Request, value string) bool {
			then, err := parseTime(value)
			return err == nil && date(r.Time, then)
		}
	case name != nil && lower == principalARN:
		matches = func(r *Request, value string) bool { return name(r.Principal.ARN, value) }
	default:
		return condition{}, &Unsupported{fmt.Sprintf("the condition %s of %s", operator, key)}
	}
	negated := strings.Contains(operator, "Not") // holds if no value matches
	return condition{func(r *Request) bool {
		return negated != slices.ContainsFunc(values, func(value string) bool { return matches(r, value) })
	}}, nil
}

// parseTime reads a date as IAM takes it: ISO 8601, or seconds since 1970.
func parseTime(text string) (time.Time, error) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("the date %q is invalid", text)
}

// likeARN compares ARNs part by part: a wildcard stays within one of the six. What is no ARN matches none.
func likeARN(is, pattern string) bool {
	if pattern == "*" {
		return true
	}
	parts, patterns := strings.SplitN(is, ":", 6), strings.SplitN(pattern, ":", 6)
	return slices.EqualFunc(parts, patterns, like)
}

// like compares a text with a pattern, in which * is any text and ? any character.
func like(text, pattern string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return len(text) == len(pattern) && begins(text, pattern)
	}
	if !begins(text, before) {
		return false
	}
	for rest := len(before); rest <= len(text); rest++ {
		if like(text[rest:], after) {
			return true
		}
	}
	return false
}

// begins tells whether the text begins as the pattern, which has no *.
func begins(text, pattern string) bool {
	if len(text) < len(pattern) {
		return false
	}
	for i := range len(pattern) {
		if pattern[i] != '?' && pattern[i] != text[i] {
			return false
		}
	}
	return true
}
