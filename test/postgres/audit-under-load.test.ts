import { expect, test } from 'vitest'
import { type Bench, bench } from './bench.ts'
import { bustle } from './bustle.ts'

interface Account {
  readonly scope: string
  readonly name: string
  readonly difference: string
}

/** Audits without a rest while the work goes on; answers what was out of balance, and how often it looked. */
async function auditDuring(b: Bench, begin: string, work: Promise<void>): Promise<{ wrong: Account[]; looks: number }> {
  const auditor = await b.connect()
  const wrong: Account[] = []
  let over = false
  let looks = 0
  const done = work.finally(() => (over = true))
  done.catch(() => {})
  while (!over) {
    await auditor.query(begin)
    const { rows } = await auditor.query('select * from posthaste.audit()')
    await auditor.query('commit')
    wrong.push(...rows.filter(({ difference }) => difference !== '0'))
    looks += 1
  }
  await done
  return { wrong, looks }
}

test('the difference is 0 in every snapshot while everybody is at work', async () => {
  const b = await bench({ alone: true })
  const work = bustle(b, { seed: 1, durationMs: 3_000, retention: false })
  const { wrong, looks } = await auditDuring(b, 'begin isolation level repeatable read read only', work)
  expect(wrong).toEqual([])
  expect(looks).toBeGreaterThan(20)
  await settleDown(b)
})

test('the difference is 0 while partitions are passed, emptied and dropped too', async () => {
  const b = await bench({ alone: true })
  const work = bustle(b, { seed: 2, durationMs: 3_000, retention: true })
  const { wrong, looks } = await auditDuring(b, 'begin', work)
  expect(wrong).toEqual([])
  expect(looks).toBeGreaterThan(20)
  const { rows } = await b.pool.query(
    `select coalesce(sum(n), 0)::int as emptied from posthaste.counters() where counter = 'emptied'`,
  )
  expect(rows[0].emptied).toBeGreaterThan(0)
  await settleDown(b)
  const dead = await b.pool.query(`select from posthaste.dead_letters where reason = 'LOG_MISSING' or type is null`)
  expect(dead.rows).toEqual([])
})

/** Nobody works any more: what is routed is ready, scheduled, leased or has ended, and backlog says the same as counting. */
async function settleDown(b: Bench): Promise<void> {
  await b.drain()
  await b.audit()
  const { rows } = await b.pool.query(
    `select routed::int, completed::int, retried::int, (ready + scheduled + leased)::int as open, posthaste.backlog(name)::int as backlog
     from posthaste.audit() where scope = 'queue' and name = $1`,
    [b.queue],
  )
  expect(rows[0].open).toBe(rows[0].backlog)
  expect(rows[0].completed).toBeGreaterThan(10)
  expect(rows[0].retried).toBeGreaterThan(10)
}
