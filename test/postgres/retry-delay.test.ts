import { afterAll, beforeAll, expect, test } from 'vitest'
import { DEFAULT_RETRY, delayAfter, type RetryPolicy } from '../../src/rules/retry.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { seeded } from '../support/random.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

test('SQL and TypeScript wait alike under every policy', async () => {
  const random = seeded(4_711)
  const within = (least: number, most: number) => Math.round(least + random() * (most - least))
  const pick = <Value>(...values: Value[]) => values[Math.floor(random() * values.length)]!
  const cases = Array.from({ length: 600 }, () => {
    const minMs = within(1, 100_000)
    const strategy = pick('exponential', 'linear', 'fixed', 'list', undefined)
    const policy: RetryPolicy = {
      ...DEFAULT_RETRY,
      ...(strategy && { strategy }),
      minMs,
      maxMs: minMs + within(0, pick(0, 10, 315_000_000_000)),
      factor: pick(1, 1.5, 2, 10, 100),
      jitter: pick('full', 'none'),
      ...(strategy === 'list' && { delaysMs: Array.from({ length: within(1, 5) }, () => within(1, 1_000_000)) }),
    }
    const bounded = policy.delaysMs
      ? { ...policy, minMs: Math.min(...policy.delaysMs), maxMs: Math.max(...policy.delaysMs) }
      : policy
    return { policy: bounded, attempt: pick(1, 2, 3, 7, 50, 999, 1_000_000), chance: random() }
  })
  const { rows } = await db.pool.query(
    `select posthaste.retry_delay_ms(c -> 'policy', (c ->> 'attempt')::integer, (c ->> 'chance')::double precision) as ms
     from jsonb_array_elements($1::jsonb) with ordinality x (c, n) order by n`,
    [JSON.stringify(cases)],
  )
  for (const [n, { policy, attempt, chance }] of cases.entries()) {
    const expected = delayAfter(policy, attempt, () => chance)
    expect(Math.abs(rows[n].ms - expected), JSON.stringify(cases[n])).toBeLessThanOrEqual(1)
  }
})

test('retry without a delay waits as the queue says, and a negative one is refused', async () => {
  await db.pool.query(`insert into posthaste.queues (name, max_attempts, retry) values
    ('sql', 5, '{"maxAttempts": 5, "strategy": "list", "delaysMs": [3600000, 7200000], "jitter": "none", "minMs": 3600000, "maxMs": 7200000}')`)
  await db.pool.query(`select posthaste.publish('', 'sql', '{}')`)
  await db.pool.query('select posthaste.relay_cycle(100, true)')
  const receive = async () => (await db.pool.query(`select * from posthaste.receive('sql', 1)`)).rows[0]
  const { lease_id, token, position } = await receive()
  await expect(
    db.pool.query(`select posthaste.retry($1, $2, $3, interval '-1 second')`, [lease_id, token, position]),
  ).rejects.toMatchObject({ code: 'PH001' })
  await db.pool.query('select posthaste.retry($1, $2, $3)', [lease_id, token, position])
  const { rows } = await db.pool.query(
    'select round(extract(epoch from due_at - clock_timestamp())) as seconds from posthaste.scheduled',
  )
  expect(Number(rows[0].seconds)).toBe(3_600)
})
