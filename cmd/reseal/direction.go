package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"reseal/internal/atomicfile"
	"reseal/internal/call"
	"reseal/internal/cutover"
	"reseal/internal/refuse"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// Replication from S to T and from T to S at once would write older items over newer ones, without end. So a replication looks whether the
// other one is on: as a Lambda, by the mappings of its own target's stream; as a tailer of this machine and user, by a lock.

// otherDirection returns the mappings of a target's stream to functions that replicate to the source: those that are on, and those that are off.
func otherDirection(ctx context.Context, api cutover.LambdaAPI, targetStream string, source table.Info) (on, off []cutover.Mapping, err error) {
	on, off, _, err = cutover.AllMappings(ctx, api, targetStream, source)
	return on, off, err
}

// openLambda makes a client beside a table.
func openLambda(h *table.Handle) *lambda.Client {
	return lambda.NewFromConfig(h.Config, func(o *lambda.Options) {
		if o.BaseEndpoint == nil {
			o.BaseEndpoint = h.LocalEndpoint()
		}
	})
}

// direction is a replication of this process. It keeps others of the other direction from beginning.
type direction struct{ lock *atomicfile.Lock }

func (d direction) close() {
	if d.lock != nil {
		d.lock.Release()
	}
}

// takeDirection refuses while the other direction is on, and takes this one otherwise. What can't be asked is said on out.
func takeDirection(ctx context.Context, source, target *table.Handle, out io.Writer) (direction, error) {
	from, err := table.Await(ctx, source.DB, "source", source.Table)
	if err != nil {
		return direction{}, err
	}
	to, err := table.Await(ctx, target.DB, "target", target.Table)
	if err != nil {
		return direction{}, err
	}
	if stream := to.StreamARN(); stream != "" && (target.LocalEndpoint() == nil || awsStream.MatchString(stream)) {
		on, _, err := otherDirection(ctx, openLambda(target), stream, from)
		switch {
		case ctx.Err() != nil:
			return direction{}, ctx.Err()
		case err != nil:
			_, _ = fmt.Fprintf(out, "replicate: not checked: whether a Lambda replicates from the target to the source (%s)\n", harmless(call.Message(err)))
		case len(on) > 0:
			return direction{}, isOn(on[0])
		}
	}
	return lockDirection(from.Identity(), to.Identity())
}

// lockDirection takes the lock of a direction, which others of the same one share, and makes sure that nobody has that of the other.
func lockDirection(from, to table.Identity) (direction, error) {
	mine, err := atomicfile.Share(directionPath(from, to))
	if err != nil {
		return direction{}, nil //nolint:nilerr // without a folder for it there is no lock, on either side
	}
	other, err := atomicfile.Acquire(directionPath(to, from))
	switch {
	case errors.Is(err, atomicfile.ErrLocked):
		mine.Release()
		return direction{}, refuse.Because(errOn, "end it first: both at once would write older items over newer ones",
			"the other direction is on: another process of this machine replicates from the target to the source")
	case err == nil:
		other.Release()
	}
	return direction{mine}, nil
}

// directionPath is in a folder that all processes of a user find.
func directionPath(from, to table.Identity) string {
	sum := sha256.Sum256([]byte(from.String() + from.ID + "\n" + to.String() + to.ID))
	return filepath.Join(os.TempDir(), fmt.Sprintf("reseal-%d-replicates-%s", os.Getuid(), hex.EncodeToString(sum[:12])))
}
