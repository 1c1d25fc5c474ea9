// Package poison opens the dead-letter queue as the command line and the Lambda's environment ask for it.
package poison

import (
	"context"

	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/replicate"
)

// Settings are how an item that the target refuses is treated, and what the user calls the settings.
type Settings struct {
	Mode, ModeName   string // replicate.OnPoisonBlock (or "") or replicate.OnPoisonDeadLetter
	Queue, QueueName string // ARN of an SQS queue
}

// Open returns what replicate is to do with such an item; nil if it blocks. The queue is reached with the AWS configuration of side.
// target is the target table's name, for the messages. The errors are refusals.
func (s Settings) Open(ctx context.Context, side table.Side, target string) (replicate.Poison, error) {
	toQueue := s.Mode == replicate.OnPoisonDeadLetter
	switch {
	case s.Mode != "" && s.Mode != replicate.OnPoisonBlock && !toQueue:
		return nil, refuse.New("use "+replicate.OnPoisonBlock+" or "+replicate.OnPoisonDeadLetter, "%s %q is not known", s.ModeName, s.Mode)
	case toQueue && s.Queue == "":
		return nil, refuse.New("give "+s.QueueName+" with the ARN of an SQS queue", "%s %s has no queue", s.ModeName, s.Mode)
	case !toQueue && s.Queue != "":
		return nil, refuse.New("give "+s.ModeName+" "+replicate.OnPoisonDeadLetter+", too, or leave it out", "%s is of no use if %s isn't %s", s.QueueName, s.ModeName, replicate.OnPoisonDeadLetter)
	case !toQueue:
		return nil, nil
	}
	queue, err := replicate.OpenQueue(ctx, side, s.Queue, target)
	if err != nil {
		return nil, err
	}
	return queue.Take, nil
}
