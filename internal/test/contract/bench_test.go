package contract

import (
	"encoding/json"
	"testing"
)

func BenchmarkBatchWrite(b *testing.B) {
	models, err := installed()
	if err != nil {
		b.Skip(err)
	}
	k := &kit{contract: New(models, &Tables{})}
	body := `{"RequestItems":{"orders":[` + repeated(25, `{"PutRequest":{"Item":{"a":{"S":"x"},"b":{"N":"%d"},"v":{"S":"`+text(1000)+`"},"w":{"SS":["a","b"]},"x":{"M":{"y":{"N":"1"}}}}}}`) + `]}}`
	if !json.Valid([]byte(body)) {
		b.Fatal("no JSON")
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		k.send(ddb+"BatchWriteItem", body)
	}
	if len(k.found) > 0 {
		b.Error(k.found)
	}
}

func BenchmarkScanAnswer(b *testing.B) {
	models, err := installed()
	if err != nil {
		b.Skip(err)
	}
	k := &kit{contract: New(models, &Tables{})}
	body := []byte(`{"Count":5000,"Items":[` + repeated(5000, `{"k":{"S":"000000%d"},"name":{"S":"Sant Julià"},"country":{"S":"AD"},"count":{"N":"77"},"latitude":{"N":"42.46372"},"tags":{"SS":["capital","border"]},"notes":{"S":"Lorem ipsum"}}`) + `]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		k.send(ddb+"Scan", `{"TableName":"orders"}`).Answer(200, body)
	}
	if len(k.found) > 0 {
		b.Error(k.found)
	}
}
