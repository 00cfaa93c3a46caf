package etcdnode

import (
	"context"
	"errors"
	"time"

	"scomconnector/cluster"
)

// kv is what this package needs of an etcd: *client, or a fake in tests. Every call ends with its context; an error other than the
// sentinels below says nothing about whether a write has happened.
type kv interface {
	// Txn carries out then if all conditions hold, else orElse. Reads are linearizable.
	Txn(ctx context.Context, when []cond, then, orElse []op) (outcome, error)
	// Page reads at most limit keys that begin with prefix and come after the key after, as they were at the revision, 0 for now.
	Page(ctx context.Context, prefix, after string, limit int, revision int64) (page, error)
	// Watch tells of all changes of keys that begin with prefix, from the revision on, until it fails or ctx ends: the last message has
	// an error. It fails rather than to go on without a majority.
	Watch(ctx context.Context, prefix string, from int64) <-chan news
	Grant(ctx context.Context, ttl time.Duration) (id int64, granted time.Duration, err error)
	KeepAlive(ctx context.Context, id int64) (ttl time.Duration, err error)
	// Left is how long the lease lasts if it is not renewed any more; errNoLease: it is over.
	Left(ctx context.Context, id int64) (time.Duration, error)
	Revoke(ctx context.Context, id int64) error
	// Endpoints is what is known of each, measured by itself.
	Endpoints() []cluster.Endpoint
	Close() error
}

var (
	// errCompacted: what was asked for is older than what etcd keeps.
	errCompacted = errors.New("etcd has dropped that revision")
	errNoLease   = errors.New("the lease is over")
)

// keyValue is one key as it is kept, without the prefix.
type keyValue struct {
	Key         string
	Value       []byte
	Create, Mod int64 // revisions
	Lease       int64
}

// cond is a condition of a transaction: the key's create revision, or its last one, is this; 0: there is no such key.
type cond struct {
	key      string
	create   bool
	revision int64
}

func created(key string, at int64) cond  { return cond{key, true, at} }
func modified(key string, at int64) cond { return cond{key, false, at} }

// op is one operation of a transaction.
type op struct {
	kind  opKind
	key   string // deleteAll: the prefix of keys
	to    string // deleteUpTo: the first key that stays
	value []byte
	lease int64
}

type opKind int

const (
	opPut opKind = iota
	opGet
	opDelete
	opDeleteAll  // all keys that begin with key
	opDeleteUpTo // from key, before to
)

func put(key string, value []byte) op { return op{kind: opPut, key: key, value: value} }
func get(key string) op               { return op{kind: opGet, key: key} }
func remove(key string) op            { return op{kind: opDelete, key: key} }

// outcome is what a transaction has done. Found has one entry for each get of the branch that was taken, nil where there is no such key.
type outcome struct {
	OK       bool
	Revision int64
	Found    []*keyValue
}

type page struct {
	Items    []keyValue
	More     bool
	Revision int64 // that was read
}

// news are changes, whole revisions in their order.
type news struct {
	Events []event
	Err    error
}

type event struct {
	keyValue
	Deleted bool
}
