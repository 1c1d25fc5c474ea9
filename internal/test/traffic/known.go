package traffic

import (
	"context"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// known is what an item must hold by the writes that were acknowledged.
type known struct {
	absent     bool
	whole      bool              // it holds no other of the attributes
	attributes map[string]string // "" is for one that was removed
	hits       int
}

// remember books an acknowledged write. The Writer's mu is held.
func (w *Writer) remember(done write) {
	k := w.known[done.key]
	if k == nil {
		k = &known{attributes: map[string]string{}}
		w.known[done.key] = k
	}
	switch done.kind {
	case update:
		k.attributes[done.attribute] = done.text
	case remove:
		k.attributes[done.attribute] = ""
	case del:
		*k = known{absent: true}
	case reinsert:
		*k = known{whole: true, attributes: map[string]string{done.attribute: done.text}}
	case hot:
		k.hits++
	}
}

// Pause has the application wait, and returns when no write of it is under way any more.
func (w *Writer) Pause() { w.gate.Lock() }

// Resume has it go on, with a table, which may be another one than before.
func (w *Writer) Resume(table string) {
	w.table = table
	w.gate.Unlock()
}

// Lost reads each item that was written to, consistently, and tells of each that is not as the acknowledged writes have left it. It is
// called after Stop.
func (w *Writer) Lost(ctx context.Context) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lost []string
	for i, k := range w.known {
		out, err := w.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &w.table, Key: w.opts.Keys[i], ConsistentRead: aws.Bool(true)})
		if err != nil {
			return nil, fmt.Errorf("read what was written: %w", err)
		}
		if why := k.differs(out.Item, w.opts.Attributes); why != "" {
			lost = append(lost, fmt.Sprintf("item %d: %s", i, why))
		}
	}
	return lost, nil
}

// differs says how an item is not what is known of it.
func (k *known) differs(item map[string]types.AttributeValue, attributes []string) string {
	switch {
	case k.absent && item != nil:
		return "it was deleted, and is there"
	case k.absent:
		return ""
	case item == nil:
		return "it is missing"
	}
	for _, name := range attributes {
		want, is := k.attributes[name]
		if !is && !k.whole {
			continue
		}
		got, _ := item[name].(*types.AttributeValueMemberS)
		if want == "" && got != nil || want != "" && (got == nil || got.Value != want) {
			return "attribute " + name + " is another one"
		}
	}
	if hits, _ := item["hits"].(*types.AttributeValueMemberN); k.hits > 0 && (hits == nil || hits.Value != strconv.Itoa(k.hits)) {
		return fmt.Sprintf("it counts %v hits of %d", hits, k.hits)
	}
	return ""
}
