package jsonwalk_test

import (
	"bytes"
	"testing"

	"reseal/internal/jsonwalk"
)

// benchText is an answer with a page's worth of text, some of it escaped.
var benchText = []byte(`{"Count":200,"Items":[` + string(bytes.Repeat([]byte(`{"k":{"S":"0000000007"},"note":{"S":"Sant Juli\u00e0 de L\u00f2ria \"q\""},"n":{"N":"42"}},`), 199)) +
	`{"k":{"S":"last"}}],"ScannedCount":200}`)

func BenchmarkSkip(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := skip(); err != nil {
			b.Fatal(err)
		}
	}
}

func skip() error {
	r := jsonwalk.Reader{Data: benchText}
	return r.Skip()
}

func BenchmarkUnescape(b *testing.B) {
	raw := []byte(`Sant Juli\u00e0 de L\u00f2ria \"q\" \ud83d\ude00`)
	var text []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if text, err = jsonwalk.Unescape(text[:0], raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendQuoted(b *testing.B) {
	text := "Sant Julià de Lòria \"q\"\n"
	var quoted []byte
	b.ReportAllocs()
	for b.Loop() {
		quoted = jsonwalk.AppendQuoted(quoted[:0], text)
	}
}
