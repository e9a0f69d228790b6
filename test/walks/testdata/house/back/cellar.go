package back

func fetch[T any]([]T) {}
