// Package tenants is a cluster that is shared with strangers: somebody who may only create and patch pods and ConfigMaps in one
// namespace does everything that could stop, rob or blind others, on a real API server with the real scheduler, while
// somebody else goes on with ordinary applications.
package tenants
