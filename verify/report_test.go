package verify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"reseal/internal/item"
	"reseal/verify"
	"reseal/verify/report"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestWriteDifference(t *testing.T) {
	t.Parallel()
	schema := func(hash, sort types.ScalarAttributeType) item.Schema {
		return item.Schema{Hash: item.KeyAttribute{Name: `ha"sh<é`, Type: hash}, Range: item.KeyAttribute{Name: "range\n", Type: sort}}
	}
	for _, one := range []struct {
		schema     item.Schema
		hash, sort types.AttributeValue
		want       map[string]map[string]string
	}{
		{
			schema("S", "S"), str("quote \" backslash \\ <tag> & \u2028\u2029"), str("line\nfeed\ttab\r\x00\x01\x1f\x7f"),
			map[string]map[string]string{
				`ha"sh<é`: {"S": "quote \" backslash \\ <tag> & \u2028\u2029"}, "range\n": {"S": "line\nfeed\ttab\r\x00\x01\x1f\x7f"},
			},
		},
		{
			schema("S", "N"), str("日本 🙂 e\u0301"), num("-12345678901234567890.123456789012345678"),
			map[string]map[string]string{`ha"sh<é`: {"S": "日本 🙂 e\u0301"}, "range\n": {"N": "-12345678901234567890.123456789012345678"}},
		},
		{
			schema("B", "N"), bin(0, 0xff, '"', '\n'), num("1.50E1"),
			map[string]map[string]string{`ha"sh<é`: {"B": "AP8iCg=="}, "range\n": {"N": "15"}},
		},
	} {
		key, err := one.schema.KeyOf(item.Of(attrs{`ha"sh<é`: one.hash, "range\n": one.sort}))
		if err != nil {
			t.Fatal(err)
		}
		d := difference{
			Key: key, Kind: verify.Different, Attributes: []string{"", `a"b`, "c\nd"},
			SourceDigest: strings.Repeat("0a", 32), TargetDigest: strings.Repeat("1b", 32),
			FirstSeen: time.Date(2026, 2, 3, 4, 5, 6, 7_800_000, time.FixedZone("", 3600)), LastSeen: time.Date(2026, 2, 3, 4, 5, 7, 0, time.UTC),
			SourceValues: json.RawMessage(`{"c\nd":{"S":"<&"}}`), TargetValues: json.RawMessage(`{}`),
			Repair: verify.Put, AfterRepair: true,
		}
		var out bytes.Buffer
		for range 2 {
			if err := report.WriteDifference(&out, d); err != nil {
				t.Fatal(err)
			}
		}
		lines := strings.SplitAfter(out.String(), "\n")
		if len(lines) != 3 || lines[2] != "" || lines[0] != lines[1] {
			t.Fatalf("not two lines: %q", out.String())
		}
		var got struct {
			Key          map[string]map[string]string `json:"key"`
			Kind         string                       `json:"kind"`
			Attributes   []string                     `json:"attributes"`
			SourceDigest string                       `json:"source_digest"`
			TargetDigest string                       `json:"target_digest"`
			FirstSeen    string                       `json:"first_seen"`
			LastSeen     string                       `json:"last_seen"`
			SourceValues map[string]any               `json:"source_values"`
			TargetValues map[string]any               `json:"target_values"`
			Repair       string                       `json:"repair"`
			AfterRepair  bool                         `json:"after_repair"`
		}
		decoder := json.NewDecoder(strings.NewReader(lines[0]))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&got); err != nil {
			t.Fatalf("%v in %s", err, lines[0])
		}
		gotKey, wantKey := mustJSON(t, got.Key), mustJSON(t, one.want)
		if gotKey != wantKey || got.Kind != "different" || mustJSON(t, got.Attributes) != mustJSON(t, d.Attributes) {
			t.Errorf("got %+v, want key %v", got, one.want)
		}
		if got.SourceDigest != d.SourceDigest || got.TargetDigest != d.TargetDigest {
			t.Errorf("digests %s, %s", got.SourceDigest, got.TargetDigest)
		}
		if got.FirstSeen != "2026-02-03T03:05:06.007Z" || got.LastSeen != "2026-02-03T04:05:07.000Z" {
			t.Errorf("seen %s to %s", got.FirstSeen, got.LastSeen)
		}
		if mustJSON(t, got.SourceValues) != `{"c\nd":{"S":"\u003c\u0026"}}` || mustJSON(t, got.TargetValues) != "{}" || got.Repair != "put" || !got.AfterRepair {
			t.Errorf("%+v", got)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestWriteDifferenceOfOneSide leaves out what there is not, and keeps what people can read readable.
func TestWriteDifferenceOfOneSide(t *testing.T) {
	t.Parallel()
	key, err := item.Schema{Hash: item.KeyAttribute{Name: "id", Type: "S"}}.KeyOf(item.Of(attrs{"id": str("<a&b>")}))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := report.WriteDifference(&out, difference{Key: key, Kind: verify.Missing, SourceDigest: "ab", WouldRepair: verify.Put}); err != nil {
		t.Fatal(err)
	}
	if want := `{"key":{"id":{"S":"<a&b>"}},"kind":"missing","source_digest":"ab","first_seen":"0001-01-01T00:00:00.000Z",` +
		`"last_seen":"0001-01-01T00:00:00.000Z","would_repair":"put"}` + "\n"; out.String() != want {
		t.Errorf("got %s, want %s", out.String(), want)
	}
}

// full is a disk that is.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteDifferenceFails(t *testing.T) {
	t.Parallel()
	key, err := item.Schema{Hash: item.KeyAttribute{Name: "id", Type: "S"}}.KeyOf(item.Of(attrs{"id": str("a")}))
	if err != nil {
		t.Fatal(err)
	}
	if err := report.WriteDifference(full{}, difference{Key: key, Kind: verify.Missing}); !errors.Is(err, errFull) {
		t.Error(err)
	}
	if err := report.WriteDifference(new(bytes.Buffer), difference{Kind: verify.Missing}); err == nil {
		t.Error("a difference without a key is written")
	}
}
