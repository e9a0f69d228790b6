// Package install is Retinue as an administrator installs it: every manifest, overlay, example and rendering of the chart, before a real API
// server.
package install
