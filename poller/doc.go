// Package poller carries alerts from SCOM to one destination and moves that
// pipeline's cursor only over what the destination has taken.
//
// A Pipeline lives for one term of leadership. It starts from the committed
// position and nothing about position outlives it: SCOM's database is the
// queue, there is no second one to corrupt. The order is always publish, then
// commit; what goes out is safe to repeat, because Moogsoft folds events of one
// signature, and the delivered map keeps repeats to one batch per crash.
//
// Nothing sorts or pages in SCOM's REST interface, so an answer is consumed as
// an unordered stream: rows go out in batches while the answer is still being
// read, and the cursor moves only after its last byte.
package poller
