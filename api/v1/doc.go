// Package v1 holds the wire types of /api/v1. It is what the CLI, the status page and
// anybody's scripts read; it imports only the standard library.
package v1
