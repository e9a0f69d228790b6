package ledger

// pageSize is how many items share a page: small enough to copy in a microsecond, large enough that the list of
// pages of 15,000 nodes stays short.
const pageSize = 32

// paged is an array whose snapshots are cheap: sharing copies the list of pages, and a page is copied when it is
// first edited after it was shared.
type paged[T any] struct {
	pages []*page[T]
	// generation is raised by share; pages of an older one belong to a snapshot as well.
	generation uint64
	length     int
}

type page[T any] struct {
	generation uint64
	items      [pageSize]T
}

// at reads an item. The item must not be modified.
func (p *paged[T]) at(i int) *T { return &p.pages[i/pageSize].items[i%pageSize] }

// edit returns an item that may be modified until the next share.
func (p *paged[T]) edit(i int) *T {
	shared := p.pages[i/pageSize]
	if shared.generation != p.generation {
		own := *shared
		own.generation = p.generation
		p.pages[i/pageSize] = &own
	}
	return p.at(i)
}

// grow appends a zero item and returns its index.
func (p *paged[T]) grow() int {
	if p.length == len(p.pages)*pageSize {
		p.pages = append(p.pages, &page[T]{generation: p.generation})
	}
	p.length++
	return p.length - 1
}

// share returns a snapshot that later edits do not reach.
func (p *paged[T]) share() paged[T] {
	p.generation++
	return paged[T]{pages: append([]*page[T](nil), p.pages...), length: p.length}
}
