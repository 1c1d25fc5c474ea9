package verify_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/test/testkit"
	"reseal/verify"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 3)
	ts.damage()
	plain := testkit.CreateTable(t, ts.engine, testkit.TableSpec{Hash: "id:S", Plain: true})
	otherKey := testkit.CreateTable(t, ts.engine, testkit.TableSpec{Hash: "key:S"})
	otherType := testkit.CreateTable(t, ts.engine, testkit.TableSpec{Hash: "id:N"})
	otherRange := testkit.CreateTable(t, ts.engine, testkit.TableSpec{Hash: "id:S", Range: "at:N"})
	target := func(name string) option { return func(o *verify.Options) { o.TargetTable = name } }
	for _, one := range []struct {
		name    string
		option  option
		problem string
	}{
		{"unknown source", func(o *verify.Options) { o.SourceTable = "nosuchtable" }, "does not exist"},
		{"unknown target", target("nosuchtable"), "does not exist"},
		{"same table", target(ts.source), "same table"},
		{"other key", target(otherKey), "key schemas differ"},
		{"other key type", target(otherType), "key schemas differ"},
		{"other range key", target(otherRange), "key schemas differ"},
		{"no encryption", target(plain), "not encrypted"},
		{"unknown encryption", func(o *verify.Options) { o.Encryption = "aes" }, "aes"},
		{"no segments", segments(0), "segments is 0"},
		{"negative segments", segments(-1), "segments is -1"},
		{"too many segments", segments(1_000_001), "segments is 1000001"},
		{"negative units", func(o *verify.Options) { o.ReadUnits = -1 }, "read units is -1"},
		{"units not a number", func(o *verify.Options) { o.ReadUnits = math.NaN() }, "read units is NaN"},
		{"infinite units", func(o *verify.Options) { o.ReadUnits = math.Inf(1) }, "read units is +Inf"},
		{"negative settle", settling(-time.Second), "settle is -1s"},
		{"no memory", func(o *verify.Options) { o.MaxMemory = 0 }, "max memory is 0"},
		{"negative memory", func(o *verify.Options) { o.MaxMemory = -1 }, "max memory is -1"},
	} {
		result, err := verify.Run(t.Context(), ts.options(withRepair, one.option))
		if !refuse.Is(err) || !strings.Contains(err.Error(), one.problem) || result.Match || result.Source != "" {
			t.Errorf("%s: %+v, %v", one.name, result, err)
		}
	}
	if n := ts.requests(); n > 0 {
		t.Errorf("%d requests for data, though all was refused", n)
	}
}

func TestEncryption(t *testing.T) {
	t.Parallel()
	plain, encrypted := testkit.TableSpec{Hash: "id:S", Plain: true}, testkit.TableSpec{Hash: "id:S"}
	for _, one := range []struct {
		source, target   testkit.TableSpec
		encryption, want string
	}{
		{plain, encrypted, "", "KMS"},
		{plain, encrypted, "kms", "KMS"},
		{plain, encrypted, "any", "KMS"},
		{encrypted, plain, "any", "AWS_OWNED"},
		{plain, plain, "any", "AWS_OWNED"},
	} {
		ts := tablesOf(t, one.source, one.target)
		ts.putSource("id", "a")
		ts.putTarget("id", "a")
		result, _ := ts.verify(func(o *verify.Options) { o.Encryption = one.encryption })
		ts.expect(result, verdict{match: true, sourceItems: 1, targetItems: 1})
		if result.Encryption != one.want {
			t.Errorf("%+v: encryption %q", one, result.Encryption)
		}
	}
}
