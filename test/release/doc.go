// Package release is what is released, looked at from outside: the container image, and the archives of kubectl-retinue.
//
// Its tests build both, which takes minutes: `make image-test` and `make release-test`.
package release
