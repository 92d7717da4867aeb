import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import type { Bench } from '../stand/bench.ts'
import type { Workload } from '../stand/workload.ts'
import { type Attempted, Job, LIMITS, limited } from './limited.ts'

const PROCESSES = 8
const KEYS = 20
const MAIN = fileURLToPath(new URL('./limited-process.ts', import.meta.url))

/** Eight processes on a queue with limits: by how much the attempts, in all or of a key, and the claims of a window exceed them. */
export const limitsExceeded: Workload = {
  name: 'limits.exceeded',
  goals: [{ name: 'limits.exceeded', unit: 'attempts too many', measure: { kind: 'at-most', target: 0 } }],
  deadlineMs: 90_000,
  async run(bench) {
    const jobs = bench.quick ? 800 : 6_000
    const database = await bench.database()
    const pool = bench.pool(database, 4)
    const posthaste = new Posthaste({ database: pgDatabase(pool), topology: limited })
    await posthaste.start({ consumers: false })
    await pgDatabase(pool).transaction((tx) =>
      posthaste.publish(
        tx,
        Array.from({ length: jobs }, (_, n) => Job.create({ tenant: `t${n % KEYS}` })),
      ),
    )
    const attempts = await attempting(bench, database, jobs)
    const inAll = mostAtOnce(attempts)
    const ofKey = Math.max(
      ...Array.from({ length: KEYS }, (_, n) => mostAtOnce(attempts.filter(({ key }) => key === `t${n}`))),
    )
    const inWindow = await mostInWindow(pool)
    await posthaste.stop()
    await bench.end(pool)
    const exceeded =
      Math.max(0, inAll - LIMITS.maxConcurrency) +
      Math.max(0, ofKey - LIMITS.maxConcurrencyPerKey) +
      Math.max(0, inWindow - LIMITS.rateLimit.messages)
    return {
      measured: [{ name: 'limits.exceeded', ours: exceeded, baseline: null, runs: 1 }],
      report: { processes: PROCESSES, jobs, limits: LIMITS, most: { inAll, ofKey, inWindow } },
    }
  },
}

async function attempting(bench: Bench, database: string, jobs: number): Promise<Attempted[]> {
  const attempts: Attempted[] = []
  const done = Promise.withResolvers<void>()
  const children = Array.from({ length: PROCESSES }, () =>
    fork(MAIN, [bench.urlOf(database)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: [] }),
  )
  try {
    for (const child of children)
      child.on('message', (said) => {
        if (said === 'ready') return
        attempts.push(said as Attempted)
        if (attempts.length === jobs) done.resolve()
      })
    for (const child of children)
      once(child, 'exit').then(() => done.reject(new Error('Cannot go on: a process ended')))
    await done.promise
  } finally {
    done.promise.catch(() => {})
    for (const child of children) child.kill('SIGKILL')
  }
  return attempts
}

function mostAtOnce(attempts: readonly Attempted[]): number {
  const steps = attempts.flatMap(({ from, to }) => [
    { at: from, by: 1 },
    { at: to, by: -1 },
  ])
  let [now, most] = [0, 0]
  for (const { by } of steps.toSorted((a, b) => a.at - b.at || a.by - b.by)) {
    now += by
    most = Math.max(most, now)
  }
  return most
}

async function mostInWindow(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query(
    `select coalesce(max(n), 0)::int as most
     from (
       select sum(n) over (order by at range between $1::interval preceding and current row) as n from posthaste.spent
     ) w`,
    [`${LIMITS.rateLimit.perMs - 1} milliseconds`],
  )
  return rows[0].most
}
