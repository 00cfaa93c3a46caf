// Package settings reads, checks and shows the two files an operator writes: node.json, which is local to one node, and
// SCOMConnectorConfig.json, which the whole cluster shares.
//
// Both are JSON with comments and trailing commas. Each file has one table with a row for each key (node.go, cluster.go):
// its name, what it may be, and where it goes. A small reader (schema.go) walks the syntax tree along the table, so that
// every fault carries its line, and all of them are reported at once: an operator who mends one typing error per restart
// is an operator who stops reading the messages. Unknown keys are refused, since a key that is silently ignored is a setting
// that somebody believes in. Rules between keys stand in nodecheck.go and clustercheck.go.
//
// Durations are time.Duration in Go whatever the key is called; in the file a bare number counts in the key's unit
// (seconds, unless the key's name says minutes) and text such as "24h" is taken everywhere.
//
// Passwords and tokens are never written as themselves: a Secret is a reference (env:, file:, sealed:, plain:) that
// prints masked and is resolved when it is used.
package settings
