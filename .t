=== RUN   TestARehearsalIsRight
    rehearsal_property_test.go:314: [rapid] OK, passed 3000 tests (0s)
    rehearsal_property_test.go:328: map[ClusterFull:873 Constraints:977 admitted:1150]
--- PASS: TestARehearsalIsRight (6.70s)
PASS
ok  	retinue.dev/retinue/pkg/plugin	6.771s
