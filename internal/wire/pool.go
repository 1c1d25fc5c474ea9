package wire

import "sync"

// Pool keeps memory for bodies or answers that are alike in size, to be used again.
type Pool struct {
	// Most is the most bytes of one that are kept: the memory of an unusually large one is not to stay for good.
	Most int

	free sync.Pool
}

// Get returns memory that nobody uses, without content; nil if there is none.
func (p *Pool) Get() []byte {
	memory, is := p.free.Get().(*[]byte)
	if !is {
		return nil
	}
	return *memory
}

// Put gives memory to a later Get. Nothing may use it any more.
func (p *Pool) Put(memory []byte) {
	memory = memory[:cap(memory)]
	if len(memory) == 0 || len(memory) > p.Most {
		return
	}
	spoil(memory)
	memory = memory[:0]
	p.free.Put(&memory)
}
