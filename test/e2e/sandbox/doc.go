// Package sandbox is a box of kernel namespaces in which a test runs daemons as root and out of which nothing can stay behind.
//
// A program that calls Run becomes three processes:
//
//	outside   cleans up before and after, and takes signals
//	init      process 1 of new process, mount and network namespaces; reaps orphans
//	inside    does the work
//
// Inside, /run is empty and /var is a copy that goes away: programs with fixed paths write there.
//
// When init ends, the kernel kills every process in the box and takes its mounts and network with it, however it came
// to that: success, failure, a panic, an interrupt, or SIGKILL to any of the three. Two things outlive the namespaces,
// a folder and control groups; both have fixed names, and whatever a killed run left there is removed by the next.
package sandbox
