package upstream

import _ "embed"

// Own is the package of the copy that is not upstream's: what is measured without and with Retinue in the same run.
const Own = "retinue"

// Evictions is its source: how many pods have to go for one.
//
//go:embed own/evictions_test.go.txt
var Evictions []byte
