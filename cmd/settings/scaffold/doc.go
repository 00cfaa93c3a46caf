// Package scaffold makes the folders that a new cluster starts from: one for each node, ready to copy.
//
// It writes what an operator would else type from a manual, with the manual's words as comments beside each key, and prints what is
// left for a person to do. It never overwrites anything, since what it would overwrite may be a
// cluster's only settings.
package scaffold
