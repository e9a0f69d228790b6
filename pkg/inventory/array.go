package inventory

// pageSize is how many items share a page: small enough to copy in a microsecond, large enough that the list of
// pages of 15,000 nodes stays short.
const pageSize = 32

// array is copied on write: sharing copies the list of pages, and a page is copied when it is first edited after that.
type array[T any] struct {
	pages []*page[T]
	// owner marks the pages that nobody else has; nil is the owner of none.
	owner  *owner
	length int
}

// owner is a mark; two are never the same, so it must not be of no size.
type owner struct{ _ byte }

type page[T any] struct {
	owner *owner
	items [pageSize]T
}

// at reads an item. The item must not be modified.
func (a *array[T]) at(i int) *T { return &a.pages[i/pageSize].items[i%pageSize] }

// edit returns an item that may be modified until the next share.
func (a *array[T]) edit(i int) *T {
	a.own()
	if shared := a.pages[i/pageSize]; shared.owner != a.owner {
		own := *shared
		own.owner = a.owner
		a.pages[i/pageSize] = &own
	}
	return a.at(i)
}

// grow appends a zero item and returns its index.
func (a *array[T]) grow() int {
	a.own()
	if a.length == len(a.pages)*pageSize {
		a.pages = append(a.pages, &page[T]{owner: a.owner})
	}
	a.length++
	return a.length - 1
}

func (a *array[T]) own() {
	if a.owner == nil {
		a.owner = &owner{}
	}
}

// share returns an array that later edits do not reach, and whose edits do not reach this one.
func (a *array[T]) share() array[T] {
	a.owner = nil
	return a.fork()
}

// fork is share for an array that nobody edits any more: it may be read by many meanwhile.
func (a *array[T]) fork() array[T] {
	return array[T]{pages: append([]*page[T](nil), a.pages...), length: a.length}
}
