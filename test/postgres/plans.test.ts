import { describe, expect, test } from 'vitest'
import { bench, claimOn, publishAll, settleOn, transaction } from './bench.ts'
import { analysed, backlog, checkPlans, history, leaveAlone, lockedBy, manyPartitions } from './plans.ts'

describe('the hot statements use their indexes', () => {
  test('on empty tables', async () => {
    const b = await bench({ alone: true })
    await leaveAlone(b)
    await checkPlans(b)
  })

  test('on tables with a long history, whether anybody has analysed them or not', async () => {
    const b = await bench({ alone: true })
    await leaveAlone(b)
    await manyPartitions(b)
    await history(b, 30_000)
    await checkPlans(b)
    await analysed(b)
    await checkPlans(b)
    await backlog(b, 10_000)
    await analysed(b)
    await checkPlans(b)
  })

  test('on tables that had a few rows when they were analysed', async () => {
    const b = await bench({ alone: true })
    await leaveAlone(b)
    await b.publishMany(b.pool, 3)
    await b.drain()
    await analysed(b)
    await checkPlans(b)
  })

  test('on tables that were empty when they were analysed', async () => {
    const b = await bench({ alone: true })
    await leaveAlone(b)
    await manyPartitions(b)
    await analysed(b)
    await checkPlans(b)
    await history(b, 10_000)
    await checkPlans(b)
  })
})

describe('with 31 partitions', () => {
  test('a claim locks the one that its messages lie in, and not the outbox', async () => {
    const b = await bench({ alone: true })
    await manyPartitions(b)
    await b.publishMany(b.pool, 10)
    await b.drain()
    const client = await b.connect()
    for (let round = 0; round < 8; round += 1) {
      await transaction(client, async () => {
        const rows = await claimOn(client, b.number, 1)
        const claimed = await lockedBy(client)
        expect(claimed.filter((name) => name.startsWith('outbox'))).toHaveLength(3)
        expect(claimed).not.toContain('outbox')
        expect(claimed.length).toBeLessThanOrEqual(16)
        await settleOn(client, b.number, rows, round % 2 === 0 ? { kind: 'completed' } : { kind: 'retry', delayMs: 0 })
        expect((await lockedBy(client)).length).toBeLessThanOrEqual(32)
      })
    }
  })

  test('a publisher locks the one that it writes to', async () => {
    const b = await bench({ alone: true })
    await manyPartitions(b)
    const client = await b.connect()
    for (let round = 0; round < 8; round += 1) {
      await transaction(client, async () => {
        await publishAll(client, { routing_key: b.queue })
        expect((await lockedBy(client)).filter((name) => /^outbox_p\d+$/.test(name))).toHaveLength(1)
      })
    }
  })
})

test('what every message is given by default is made of built-in functions, which cost an insert least', async () => {
  const b = await bench()
  const { rows } = await b.pool.query(`
    explain (verbose, format json)
    insert into posthaste.outbox (message_id, exchange, routing_key, type) values (gen_random_uuid(), '', 'a', 'a')`)
  const given = JSON.stringify(rows[0]['QUERY PLAN'])
  expect(given).toContain('pg_try_advisory_xact_lock_shared(')
  expect(given).not.toMatch(/posthaste\.\w+\(/)
})
