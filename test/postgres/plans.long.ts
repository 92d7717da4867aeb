import { expect, test } from 'vitest'
import { bench } from './bench.ts'
import { analysed, backlog, checkPlans, history, leaveAlone, manyPartitions } from './plans.ts'

test('the hot statements use their indexes on tables of a million rows', async () => {
  const b = await bench({ alone: true })
  await leaveAlone(b)
  await manyPartitions(b)
  await history(b, 1_000_000)
  await checkPlans(b)
  await analysed(b)
  await checkPlans(b)
  await backlog(b, 200_000)
  await analysed(b)
  const startedAt = performance.now()
  await b.cycle({ chunk: 5_000 })
  expect((await b.cycle({ chunk: 5_000 })).messages).toBe(5_000)
  expect(performance.now() - startedAt).toBeLessThan(3_000)
  await b.drain(10_000)
  await checkPlans(b)
})

test('an open bulk of a million messages costs the relay one look, not every one', async () => {
  const b = await bench({ alone: true })
  const bulk = await b.connect()
  await bulk.query('begin')
  await bulk.query(
    `insert into posthaste.outbox (message_id, exchange, routing_key, type, payload)
     select gen_random_uuid(), '', $1, 't', '{}' from generate_series(1, 1000000)`,
    [b.queue],
  )
  while ((await b.cycle()).more);
  const startedAt = performance.now()
  for (let n = 0; n < 20; n += 1) await b.cycle()
  expect(performance.now() - startedAt).toBeLessThan(1_000)
  await bulk.query('rollback')
  while ((await b.cycle()).more);
  const again = performance.now()
  for (let n = 0; n < 20; n += 1) await b.cycle()
  expect(performance.now() - again).toBeLessThan(1_000)
})
