// Package image is a writer of container images as OCI archives, without a registry and without a container engine.
//
// An archive is a tar file of an index, a manifest, a configuration and layers, each named by its digest. Layers stay
// uncompressed: the archive never leaves this machine, and unpacking is what a node spends its time on.
package image
