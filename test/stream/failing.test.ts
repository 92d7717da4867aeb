import { describe, expect } from 'vitest'
import { test } from '../support/side-by-side.ts'
import { until } from '../support/until.ts'
import { bench, disordered, EFFECT } from './bench.ts'

type Bench = Awaited<ReturnType<typeof bench>>

/** Reads with a handler that fails for the first message of an account in so many attempts; answers the attempts of the account. */
async function readFailing(b: Bench, { fails, account = 'bad' }: { fails: number; account?: string }) {
  const process = b.process()
  const attempts: { n: number; attempt: number }[] = []
  const healed = { done: false }
  process
    .consumer(b.stream, { batchSize: 20, concurrency: 3 })
    .on(b.Moved, async ({ id, payload, attempt }, { tx }) => {
      await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
      if (payload.account !== account) return
      attempts.push({ n: payload.n, attempt })
      if (payload.n === 2 && attempt <= fails && !healed.done) throw new Error('not now')
    })
  await process.start()
  return { process, attempts, healed }
}

const oneBad = (n: number) => (n % 5 === 2 ? 'bad' : `good${n % 5}`)

describe('a message that fails', () => {
  test('parks its key: what comes later of it waits in order, other keys go on, and nothing is lost or doubled', async () => {
    const b = await bench({ retry: { maxAttempts: 1_000, minMs: 20, maxMs: 20 } })
    const { process, attempts, healed } = await readFailing(b, { fails: 1_000 })
    const parked = process.until('parked', undefined, { timeoutMs: 20_000 })
    await b.publish(100, oneBad)
    expect(await parked).toMatchObject({ key: 'bad', scope: 'key' })
    await b.handled(80)
    await until(() => attempts.some(({ attempt }) => attempt >= 3))
    const meanwhile = await b.effects()
    expect(meanwhile.filter(({ account }) => account === 'bad')).toEqual([])
    healed.done = true
    await b.handled(100)
    const effects = await b.effects()
    expect(new Set(effects.map(({ message_id }) => message_id)).size).toBe(100)
    expect(disordered(effects)).toEqual([])
    await until(async () => (await b.pool.query('select from posthaste.parked_keys')).rows.length === 0)
  })

  test('is a dead letter after its last attempt, and what waits behind it goes on', async () => {
    const b = await bench({ retry: { maxAttempts: 2 } })
    const { process, healed } = await readFailing(b, { fails: 2 })
    const dead = process.until('dead-lettered', undefined, { timeoutMs: 20_000 })
    await b.publish(100, oneBad)
    expect(await dead).toMatchObject({ group: b.stream, reason: 'max-attempts', attempt: 2 })
    await b.handled(99)
    expect(disordered(await b.effects())).toEqual([])
    const { rows } = await b.pool.query('select grp, attempts, payload from posthaste.dead_letters where grp = $1', [
      b.stream,
    ])
    expect(rows).toEqual([{ grp: b.stream, attempts: 2, payload: { n: 2, account: 'bad' } }])
    expect((await b.pool.query('select * from posthaste.audit() where difference <> 0')).rows).toEqual([])

    healed.done = true
    expect(await process.queue(b.stream).deadLetters.redrive({})).toMatchObject({ redriven: 1 })
    await b.handled(100)
    expect((await b.pool.query('select * from posthaste.audit() where difference <> 0')).rows).toEqual([])
  })

  test('blocks its lane, when that is asked for, and the others go on', async () => {
    const b = await bench({ headOfLine: 'block', retry: { maxAttempts: 10, minMs: 300, maxMs: 300 } })
    const { process } = await readFailing(b, { fails: 2 })
    const parked = process.until('parked', undefined, { timeoutMs: 20_000 })
    await b.publish(100, oneBad)
    expect(await parked).toMatchObject({ scope: 'lane' })
    await b.handled(100)
    const effects = await b.effects()
    expect(new Set(effects.map(({ message_id }) => message_id)).size).toBe(100)
    expect(disordered(effects)).toEqual([])
  })

  test('is passed over, when that is asked for: its key does not wait for it', async () => {
    const b = await bench({ headOfLine: 'skip', retry: { maxAttempts: 10, minMs: 300, maxMs: 300 } })
    const { attempts } = await readFailing(b, { fails: 1 })
    await b.publish(100, oneBad)
    await b.handled(100)
    const effects = await b.effects()
    expect(new Set(effects.map(({ message_id }) => message_id)).size).toBe(100)
    expect(attempts).toContainEqual({ n: 2, attempt: 2 })
    const order = effects.filter(({ account }) => account === 'bad').map(({ n }) => n)
    expect(order.indexOf(7)).toBeLessThan(order.indexOf(2))
  })

  test('leaves nothing of what it wrote, and takes no effect of its neighbours with it', async () => {
    const b = await bench({ retry: { maxAttempts: 3, minMs: 100, maxMs: 100 } })
    const process = b.process()
    process.consumer(b.stream, { batchSize: 100, concurrency: 1 }).on(b.Moved, async ({ id, payload }, { tx }) => {
      await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
      if (payload.n === 50) await tx.query('select 1 / 0').catch(() => {})
    })
    await process.start()
    const dead = process.until('dead-lettered', undefined, { timeoutMs: 20_000 })
    await b.publish(100)
    expect(await dead).toMatchObject({ reason: 'max-attempts', error: { code: 'SWALLOWED_SQL_ERROR' } })
    await b.handled(99)
    expect((await b.effects()).every(({ n }) => n !== 50)).toBe(true)
  })

  test('by taking too long is charged alone', async () => {
    const b = await bench({ retry: { maxAttempts: 1 } })
    const process = b.process()
    process
      .consumer(b.stream, { batchSize: 100, concurrency: 1, timeoutMs: 1_500 })
      .on(b.Moved, async ({ id, payload }, { tx }) => {
        await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
        if (payload.n === 5) await new Promise(() => {})
      })
    await process.start()
    const dead = process.until('dead-lettered', undefined, { timeoutMs: 20_000 })
    await b.publish(10)
    expect(await dead).toMatchObject({ error: { code: 'HANDLER_TIMEOUT' } })
    await b.handled(9)
  })
})

test('batch handlers get several messages of a contract at once; one that fails is attempted alone', async () => {
  const b = await bench({ retry: { maxAttempts: 2 } })
  const process = b.process()
  const sizes: number[] = []
  process.consumer(b.stream, { batchSize: 50, concurrency: 2 }).onBatch(b.Moved, async (deliveries, { tx }) => {
    sizes.push(deliveries.length)
    for (const { id, payload } of deliveries) await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
    if (deliveries.some(({ payload }) => payload.n === 30)) throw new Error('one of them')
  })
  await process.start()
  await b.publish(200)
  await b.handled(199)
  expect(Math.max(...sizes)).toBeGreaterThan(5)
  const effects = await b.effects()
  expect(new Set(effects.map(({ message_id }) => message_id)).size).toBe(199)
  expect(disordered(effects)).toEqual([])
})
