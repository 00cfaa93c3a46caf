package settings

import "strings"

// nearest is the name with the fewest typing errors between it and word, if that is no other word altogether; case does not count.
func nearest(word string, names []string) string {
	best, least := "", 1<<30
	for _, n := range names {
		d := distance(strings.ToLower(word), strings.ToLower(n))
		if d < least {
			best, least = n, d
		}
	}
	if begins := strings.HasPrefix(strings.ToLower(best), strings.ToLower(word)); least > (max(min(len(word), 64), len(best))+2)/3 && !begins {
		return ""
	}
	return best
}

// distance counts insertions, deletions, replacements and swaps of neighbours.
func distance(a, b string) int {
	// The longest key has 23 characters; a stranger's 60 KiB key needs no exact answer.
	if len(a) > 64 {
		a = a[:64]
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
