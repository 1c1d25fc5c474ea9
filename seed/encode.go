package seed

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"

	"reseal/internal/batch"
	"reseal/internal/item"
	"reseal/internal/scan"
)

// encode returns the file's content, in memory that the next call uses again, and its generation.
func (c *checkpoint) encode() ([]byte, int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	uncertain := c.lost.IDs() // under the lock: a page is abandoned only after its keys are in the list
	file := c.head
	file.Items = c.items
	file.Done = scan.Ranges(c.done)
	file.Uncertain = make([][]byte, len(uncertain))
	for i, id := range uncertain {
		file.Uncertain[i] = []byte(id)
	}
	slices.SortFunc(file.Uncertain, bytes.Compare)
	for _, id := range slices.Sorted(maps.Keys(c.rejected)) {
		file.Rejected = append(file.Rejected, []byte(id))
	}
	data, err := json.Marshal(file)
	if err != nil {
		return nil, 0, err
	}
	c.encoded = appendSum(appendOpen(c.encoded[:0], data, c.open))
	return c.encoded, c.generation, nil
}

// appendOpen appends a file that was encoded without its open segments, and those. They are JSON already, up to a megabyte of it at each
// page; package json would read through all of it again.
func appendOpen(dst, data []byte, open map[int]json.RawMessage) []byte {
	if len(open) == 0 {
		return append(dst, data...)
	}
	size := len(data) + 16
	for _, raw := range open {
		size += len(raw) + 16
	}
	data = append(append(slices.Grow(dst, size), data[:len(data)-1]...), `,"open":{`...)
	for i, segment := range slices.Sorted(maps.Keys(open)) {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(append(strconv.AppendInt(append(data, '"'), int64(segment), 10), `":`...), open[segment]...)
	}
	return append(data, '}', '}')
}

// sumField is the last field of the file.
const sumField = `,"sum":"`

// appendSum appends the sum to a file without one, a JSON object: the CRC-32C of what precedes the field, in hexadecimal.
func appendSum(data []byte) []byte {
	data = data[:len(data)-1]
	return fmt.Appendf(data, `%s%08x"}`, sumField, crc32.Checksum(data, castagnoli))
}

// checkSum tells whether the file ends with the sum of what precedes it.
func checkSum(data []byte) error {
	data = bytes.TrimRight(data, "\n")
	at := bytes.LastIndex(data, []byte(sumField))
	if at < 0 || !bytes.Equal(data, appendSum(append(bytes.Clone(data[:at]), '}'))) {
		return errors.New("its sum is wrong")
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeOpen encodes an openSegment as package json would, for a page of thousands of keys at each of which that would halt.
func encodeOpen(after *item.Key, items int, writing []batch.Op) json.RawMessage {
	size := 64
	if after != nil {
		size += base64.StdEncoding.EncodedLen(len(after.ID()))
	}
	for _, op := range writing {
		size += base64.StdEncoding.EncodedLen(len(op.Key.ID())) + 3
	}
	var id []byte
	if after != nil {
		id = append(id, after.ID()...)
	}
	raw := append(make([]byte, 0, size), `{"after":"`...)
	raw = append(base64.StdEncoding.AppendEncode(raw, id), `","items":`...)
	raw = append(strconv.AppendInt(raw, int64(items), 10), `,"writing":`...)
	if writing == nil {
		return append(raw, `null}`...)
	}
	raw = append(raw, '[')
	for i, op := range writing {
		if i > 0 {
			raw = append(raw, ',')
		}
		id = append(id[:0], op.Key.ID()...)
		raw = append(base64.StdEncoding.AppendEncode(append(raw, '"'), id), '"')
	}
	return append(raw, `]}`...)
}
