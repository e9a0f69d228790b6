package sim

import "slices"

// table is a map whose keys are visited in order, so that nothing depends on the order of a Go map.
type table[T any] struct {
	keys []string
	rows map[string]T
}

func newTable[T any]() *table[T] { return &table[T]{rows: map[string]T{}} }

func (t *table[T]) get(key string) (T, bool) {
	row, found := t.rows[key]
	return row, found
}

func (t *table[T]) put(key string, row T) {
	if _, found := t.rows[key]; !found {
		i, _ := slices.BinarySearch(t.keys, key)
		t.keys = slices.Insert(t.keys, i, key)
	}
	t.rows[key] = row
}

func (t *table[T]) remove(key string) {
	if _, found := t.rows[key]; !found {
		return
	}
	i, _ := slices.BinarySearch(t.keys, key)
	t.keys = slices.Delete(t.keys, i, i+1)
	delete(t.rows, key)
}

func (t *table[T]) len() int { return len(t.keys) }

// all are the rows in the order of their keys; the table may be changed while they are visited.
func (t *table[T]) all() []T {
	rows := make([]T, len(t.keys))
	for i, key := range t.keys {
		rows[i] = t.rows[key]
	}
	return rows
}
