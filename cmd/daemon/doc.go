// Package daemon makes one running node of the parts: it is the only place that knows them all.
//
// Run is one straight function: open the cluster's store, serve the API, take part in the cluster,
// and, for as long as this node leads, run a feed: the consoles, the destinations and one pipeline
// for each destination, as one version of the settings describes them. A new version of the
// settings ends the pipelines and starts others, from the committed position, within the same term.
package daemon
