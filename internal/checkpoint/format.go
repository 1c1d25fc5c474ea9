package checkpoint

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	magic     = "reseal checkpoint log 1\n"
	kindAt    = len(magic)       // a byte with the kind's length, then the kind
	kindEnd   = 63 - 4           // where the checksum of all before it is
	marksAt   = 64               // two of them, markSize bytes each
	markSize  = 32               // number, length, checksum of both, and 12 bytes of nothing
	headSize  = 128              // where the frames start
	frameHead = 4 + 4            // length of the payload, and its checksum
	maxKind   = kindEnd - 1 - 24 // of the kind, in bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }

// mark says up to where the frames count.
type mark struct {
	number uint64 // of the marks that this file has had
	length int64  // of the file up to there, in bytes
}

// offset is where the mark goes: over the older one of the two.
func (m mark) offset() int64 { return marksAt + int64(m.number%2)*markSize }

func (m mark) encode() []byte {
	data := order.AppendUint64(make([]byte, 0, markSize), m.number)
	data = order.AppendUint64(data, uint64(m.length)) //nolint:gosec // a file's length is not negative
	return append(order.AppendUint32(data, checksum(data)), make([]byte, 12)...)
}

// decodeMark returns the mark at the start of data, or the zero mark if none was ever set there.
func decodeMark(data []byte) (mark, error) {
	if allZero(data[:markSize]) {
		return mark{}, nil
	}
	if order.Uint32(data[16:]) != checksum(data[:16]) || !allZero(data[20:markSize]) {
		return mark{}, fmt.Errorf("%w: a mark is not what was written", ErrDamaged)
	}
	return mark{number: order.Uint64(data), length: int64(order.Uint64(data[8:]))}, nil //nolint:gosec // its checksum was right
}

func allZero(data []byte) bool {
	for _, b := range data {
		if b != 0 {
			return false
		}
	}
	return true
}

func encodeHead(kind string, m mark) []byte {
	if len(kind) > maxKind {
		panic("checkpoint: kind too long: " + kind) // a constant of the program
	}
	head := make([]byte, headSize)
	copy(head, magic)
	head[kindAt] = byte(len(kind))
	copy(head[kindAt+1:], kind)
	order.PutUint32(head[kindEnd:], checksum(head[:kindEnd]))
	copy(head[m.offset():], m.encode())
	return head
}

// decodeHead returns the mark that holds. One byte that differs anywhere makes it an error: a file without its newest mark would be one
// of an older state.
func decodeHead(head []byte, kind string) (mark, error) {
	if order.Uint32(head[kindEnd:]) != checksum(head[:kindEnd]) || head[kindEnd+4] != 0 {
		return mark{}, fmt.Errorf("%w: its head is not what was written", ErrDamaged)
	}
	if got := string(head[kindAt+1 : kindAt+1+int(head[kindAt])]); got != kind {
		return mark{}, kindError{got, kind}
	}
	first, err := decodeMark(head[marksAt:])
	if err != nil {
		return mark{}, err
	}
	second, err := decodeMark(head[marksAt+markSize:])
	if err != nil {
		return mark{}, err
	}
	if second.number > first.number {
		first, second = second, first
	}
	// The marks come in turn, so one of two that are not neighbours was put there by somebody else.
	if first.number == 0 || first.length < headSize || first.number > 1 && second.number != first.number-1 {
		return mark{}, fmt.Errorf("%w: a mark is missing", ErrDamaged)
	}
	return first, nil
}

// kindError is ErrKind, and ErrDamaged.
type kindError struct{ got, want string }

func (e kindError) Error() string {
	return fmt.Sprintf("%s: it is one of %s, not of %s", ErrDamaged, e.got, e.want)
}

func (kindError) Is(target error) bool { return target == ErrDamaged || target == ErrKind }

func appendRecord(dst []byte, r Record) []byte {
	dst = append(binary.AppendUvarint(dst, uint64(len(r.Name))), r.Name...)
	if r.Value == nil {
		return binary.AppendUvarint(dst, 0)
	}
	return append(binary.AppendUvarint(dst, uint64(len(r.Value))+1), r.Value...)
}

func appendFrame(dst, payload []byte) []byte {
	dst = order.AppendUint32(dst, uint32(len(payload))) //nolint:gosec // the state of a run is not 4 GiB
	dst = order.AppendUint32(dst, checksum(payload))
	return append(dst, payload...)
}

// readFrames reads frames of so many bytes together and hands on their records.
func readFrames(in io.Reader, left int64, restore func(Record) error) error {
	for left > 0 {
		var head [frameHead]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return fmt.Errorf("%w: it is cut short", ErrDamaged)
		}
		size := int64(order.Uint32(head[:]))
		if left -= frameHead + size; left < 0 {
			return fmt.Errorf("%w: a frame is too long", ErrDamaged)
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(in, payload); err != nil {
			return fmt.Errorf("%w: it is cut short", ErrDamaged)
		}
		if order.Uint32(head[4:]) != checksum(payload) {
			return fmt.Errorf("%w: it is not what was written", ErrDamaged)
		}
		if err := readRecords(payload, restore); err != nil {
			return err
		}
	}
	return nil
}

func readRecords(payload []byte, restore func(Record) error) error {
	for len(payload) > 0 {
		name, rest, ok := cut(payload, 0)
		if !ok {
			return fmt.Errorf("%w: a record's name is not whole", ErrDamaged)
		}
		r := Record{Name: string(name)}
		if r.Value, rest, ok = cut(rest, 1); !ok {
			return fmt.Errorf("%w: a record is not whole", ErrDamaged)
		}
		payload = rest
		if err := restore(r); err != nil {
			return err
		}
	}
	return nil
}

// cut takes a length, which is more by extra, and as many bytes off data. With extra, a length of 0 stands for nil.
func cut(data []byte, extra uint64) (value, rest []byte, ok bool) {
	length, n := binary.Uvarint(data)
	if n <= 0 {
		return nil, nil, false
	}
	data = data[n:]
	if length < extra {
		return nil, data, true
	}
	if length -= extra; length > uint64(len(data)) {
		return nil, nil, false
	}
	return data[:length:length], data[length:], true
}
