/** The candidate a person most likely meant, or undefined when none is near: at most a third of the letters differ, or one begins with the other. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let least = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    const edits = distance(word, candidate)
    if (edits < least && isNear(word, candidate, edits)) {
      best = candidate
      least = edits
    }
  }
  return best
}

/** ` did you mean "orders"?` after a semicolon, or nothing: the tail of a sentence about an unknown name. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const meant = nearest(word, candidates)
  return meant === undefined ? '' : `; did you mean "${meant}"?`
}

function isNear(word: string, candidate: string, edits: number): boolean {
  const [a, b] = [letters(word), letters(candidate)]
  if (a.length >= 3 && sharesEnds(a, b)) return true
  return edits <= Math.max(1, Math.floor(Math.max(word.length, candidate.length) / 3))
}

/** `pollMs` and `pollIntervalMs`: the same beginning, and the rest is the end of the longer. */
function sharesEnds(a: string, b: string): boolean {
  const [short, long] = a.length < b.length ? [a, b] : [b, a]
  if (short.length < 3) return false
  let start = 0
  while (start < short.length && short[start] === long[start]) start += 1
  return start >= 3 && long.endsWith(short.slice(start))
}

function letters(word: string): string {
  return word.toLowerCase().replaceAll(/[-_\s.]/g, '')
}

/** Edits between two words, where two swapped neighbours are one edit: `biling`, `oredrs`. */
function distance(from: string, to: string): number {
  const [a, b] = [from.slice(0, 64).toLowerCase(), to.slice(0, 64).toLowerCase()]
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1]
      let edits = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1))
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (swapped) edits = Math.min(edits, beforeLast[j - 2]! + 1)
      row.push(edits)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}
