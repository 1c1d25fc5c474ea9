package contract

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"reseal/internal/item"
)

// TestSizes compares the size that this package has an item at, by the documentation, with the one that reseal reckons with. They share
// no code. Of numbers the documentation says "approximately": reseal pairs their digits from the decimal point, and counts the sign.
func TestSizes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		numbers := 0 // the bytes that may be more
		value := map[string]any{"k": map[string]any{"S": "x"}, "räume": randomValue(random, 0, &numbers)}
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		it, err := item.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		got, want := it.Size(), documentedSize(t, data)
		if got < want || got > want+numbers {
			t.Errorf("%s: reseal has it at %d bytes, the documentation at %d", data, got, want)
		}
	}
}

// documentedSize is what the checker counts, without the rest of it.
func documentedSize(t *testing.T, data []byte) (size int) {
	t.Helper()
	c := &checker{walker: walker{data: data}, side: Request, call: &Call{reported: map[Side]int{}, send: func(v Violation) { t.Errorf("%s: %s", data, v) }}}
	c.peek()
	c.at++
	for c.next() {
		name := c.member()
		_, value, _ := c.value(0)
		size += len(name) + value
	}
	return size
}

func randomValue(random *rand.Rand, depth int, numbers *int) map[string]any {
	number := func() string {
		signs := random.IntN(2)
		*numbers += 1 + signs
		return fmt.Sprintf("%s%d%sE%d", strings.Repeat("-", signs), random.Uint64()>>random.IntN(64), strings.Repeat("0", random.IntN(4)), random.IntN(60)-30)
	}
	content := strings.Repeat([]string{"a", "ü", "\n", `"`, "😀"}[random.IntN(5)], random.IntN(30))
	kinds := 10
	if depth == 4 {
		kinds = 8
	}
	switch random.IntN(kinds) {
	case 0:
		return map[string]any{"S": content}
	case 1:
		return map[string]any{"N": number()}
	case 2:
		return map[string]any{"B": []byte(content)}
	case 3:
		return map[string]any{"SS": []string{content, content + "x"}}
	case 4:
		return map[string]any{"NS": []string{number()}}
	case 5:
		return map[string]any{"BS": [][]byte{[]byte(content)}}
	case 6:
		return map[string]any{"NULL": true}
	case 7:
		return map[string]any{"BOOL": false}
	case 8:
		list := []any{}
		for range random.IntN(4) {
			list = append(list, randomValue(random, depth+1, numbers))
		}
		return map[string]any{"L": list}
	}
	inner := map[string]any{}
	for i := range random.IntN(4) {
		inner[content+fmt.Sprint(i)] = randomValue(random, depth+1, numbers)
	}
	return map[string]any{"M": inner}
}
