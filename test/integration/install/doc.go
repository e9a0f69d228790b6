// Package install is Retinue as an administrator installs it: every manifest, overlay and example, before a real API server.
package install
