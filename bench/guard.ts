import { readFileSync } from 'node:fs'
import { QUICK } from './results.ts'
import type { Outcome } from './stand/measure.ts'
import type { Target } from './stand/workload.ts'

const FALL = 0.2
/** Of these less is better. */
const LESS = /latency|statements|p99|memory|fanout/

/** Compares a quick run with the one that is committed, ratio by ratio, and tells what fell. */
export function guard(now: Outcome, say: (line: string) => void): number {
  const before = JSON.parse(readFileSync(QUICK, 'utf8')) as Outcome
  const falls = before.targets.flatMap((then) =>
    fallOf(
      then,
      now.targets.find(({ name }) => name === then.name),
    ),
  )
  for (const fall of falls) say(fall)
  say(falls.length === 0 ? `guard: nothing fell by more than ${FALL * 100} %` : `guard: ${falls.length} fell`)
  return falls.length === 0 ? 0 : 1
}

function fallOf(then: Target, now: Target | undefined): string[] {
  if (then.ratio === null) return []
  if (now?.ratio == null) return [`${then.name}: ratio ${then.ratio} then, not measured now (${now?.reason})`]
  const change = LESS.test(then.name) ? then.ratio / now.ratio : now.ratio / then.ratio
  if (change >= 1 - FALL) return []
  return [`${then.name}: ratio ${then.ratio} then, ${now.ratio} now: ${Math.round((change - 1) * 100)} %`]
}
