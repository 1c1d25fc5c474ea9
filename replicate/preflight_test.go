package replicate

import (
	"testing"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("id", "a", "v", "1")
	ranged := testkit.CreateTable(t, f.db, testkit.TableSpec{Hash: "id:S", Range: "at:N"})
	plain := testkit.CreateTable(t, f.db, testkit.TableSpec{Hash: "id:S", Plain: true})
	streamless := testkit.CreateTable(t, f.db, testkit.TableSpec{Hash: "id:S"})
	for _, test := range []struct {
		name  string
		with  func(*Options)
		words string
	}{
		{"no source", func(o *Options) { o.SourceTable = "nosuch" }, `source table "nosuch" does not exist`},
		{"no target", func(o *Options) { o.TargetTable = "nosuch" }, `target table "nosuch" does not exist`},
		{"same", func(o *Options) { o.TargetTable = f.source }, "same table"},
		{"keys", func(o *Options) { o.TargetTable = ranged }, "key schemas differ"},
		{"stream", func(o *Options) { o.SourceTable = streamless }, "no stream"},
		{"encryption", func(o *Options) { o.TargetTable = plain }, "not encrypted"},
		{"encryption option", func(o *Options) { o.Encryption = "none" }, "not known"},
		{"from", func(o *Options) { o.From = "yesterday" }, `"yesterday" is not known`},
		{"idle", func(o *Options) { o.UntilIdle = -time.Second }, "until-idle is -1s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.t = t // these run one after the other
			o := f.withCheckpoint()
			test.with(&o)
			f.wantRefused(o, test.words)
		})
	}
	f.t = t
	o := f.options()
	o.TargetTable, o.Encryption = plain, "any"
	f.run(o)
	for _, line := range testkit.Diff(t, f.db, f.source, f.db, plain) {
		t.Error(line)
	}
}

func TestStreamsWithoutNewImages(t *testing.T) {
	t.Parallel()
	for _, view := range []types.StreamViewType{types.StreamViewTypeKeysOnly, types.StreamViewTypeOldImage} {
		t.Run(string(view), func(t *testing.T) {
			t.Parallel()
			f := fixtureOf(t, testkit.TableSpec{Hash: "id:S"}, view)
			f.put("id", "a", "v", "1")
			f.wantRefused(f.withCheckpoint(), string(view))
		})
	}
}

func TestNewHandlerWithoutATable(t *testing.T) {
	t.Parallel()
	_, err := NewHandler(t.Context(), testkit.Client(testkit.Engine(t)), "nosuch", nil, HandlerOptions{})
	if !refuse.Is(err) {
		t.Errorf("error is %v", err)
	}
}
