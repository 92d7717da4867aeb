import { expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { bench, disordered } from './bench.ts'

test('at least once: handlers run outside of a transaction, in order, and what fails waits aside', async () => {
  const b = await bench({ retry: { maxAttempts: 5, minMs: 50, maxMs: 50 } })
  const process = b.process()
  const seen: { account: string; n: number }[] = []
  process
    .consumer(b.stream, { guarantee: 'at-least-once', batchSize: 20, concurrency: 3 })
    .on(b.Moved, async ({ payload, attempt }, context) => {
      expect('tx' in context).toBe(false)
      if (payload.n === 12 && attempt < 3) throw new Error('not now')
      seen.push(payload)
    })
  await process.start()
  await b.publish(200)
  await until(() => seen.length >= 200, { timeoutMs: 20_000 })
  expect(new Set(seen.map(({ n }) => n)).size).toBe(200)
  expect(disordered(seen)).toEqual([])
  await until(async () => (await process.stream(b.stream).group().status()).lag === 0)
})

test('at least once: complete() commits an effect once, and a restart repeats none that was settled', async () => {
  const b = await bench()
  const read = () => {
    const process = b.process()
    process
      .consumer(b.stream, { guarantee: 'at-least-once', batchSize: 10 })
      .on(b.Moved, async ({ id, payload }, { complete }) => {
        await complete(async (tx) => {
          await tx.query('insert into effects (grp, message_id, account, n) values ($1, $2, $3, $4)', [
            b.stream,
            id,
            payload.account,
            payload.n,
          ])
        })
      })
    return process
  }
  const one = read()
  await one.start()
  await b.publish(50)
  await b.handled(50)
  await one.stop()
  await read().start()
  await b.publish(50, undefined, 50)
  await b.handled(100)
  const effects = await b.effects()
  expect(new Set(effects.map(({ message_id }) => message_id)).size).toBe(100)
})

test('at least once: a position is not written by one whose lease has lapsed', async () => {
  const b = await bench()
  const one = b.process()
  let release = () => {}
  const blocked = new Promise<void>((resolve) => (release = resolve))
  const seen: string[] = []
  one
    .consumer(b.stream, { guarantee: 'at-least-once', batchSize: 5, concurrency: 1, leaseMs: 1_000 })
    .on(b.Moved, async ({ id }) => {
      seen.push(id)
      if (seen.length === 1) await blocked
    })
  await one.start()
  await b.publish(5, () => 'one')
  await until(() => seen.length === 1, { timeoutMs: 20_000 })
  await b.pool.query('update posthaste.lane_leases set token = gen_random_uuid(), expires_at = clock_timestamp()')
  const before = (await b.pool.query('select max(number) as number from posthaste.lane_positions')).rows[0].number
  release()
  await until(() => seen.filter((id) => id === seen[0]).length === 2, { timeoutMs: 20_000 })
  expect(before).toBeDefined()
  await until(() => new Set(seen).size === 5, { timeoutMs: 20_000 })
})
