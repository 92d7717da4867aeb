import { expect, test } from 'vitest'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { bench, EFFECT } from './bench.ts'

/** A reader whose handlers wait for a word; upkeep, for whom all of that took half an hour. */
async function slow() {
  const database = await createDatabase()
  const b = await bench({}, database)
  const gate = Promise.withResolvers<void>()
  let begun = 0
  const process = b.process()
  const errors: string[] = []
  process.on('error', ({ error }) => errors.push(error.message))
  process.consumer(b.stream, { concurrency: 1, batchSize: 20 }).on(b.Moved, async ({ id, payload }, { tx }) => {
    begun += 1
    if (payload.n >= 10) await gate.promise
    await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
  })
  await process.start()
  await b.publish(10)
  await b.handled(10)

  const routed = () => until(async () => (await process.status()).relay.unrouted === 0)
  const ticks = async (): Promise<number> =>
    (await b.pool.query('select count(*)::int as n from posthaste.ticks')).rows[0].n
  const forget = async () => {
    for (let n = 0; n < 3; n += 1) {
      await b.publish(1, undefined, 1_000 + n)
      await routed()
    }
    await b.pool.query(`update posthaste.ticks set at = at - interval '30 minutes'`)
    const before = await ticks()
    await until(async () => {
      await b.pool.query('select posthaste.trim_logs()')
      return (await ticks()) < before
    })
  }
  const dangling = async (): Promise<number> =>
    (
      await b.pool.query(`
        select count(*)::int as n from posthaste.lane_positions p
        where exists (select from unnest(array[p.base, p.tick]) n where n <> 0 and n not in (select number from posthaste.ticks))`)
    ).rows[0].n
  return {
    b,
    process,
    errors,
    begun: (count: number) => until(() => begun >= count),
    routed,
    forget,
    dangling,
    goOn: () => gate.resolve(),
    async [Symbol.asyncDispose]() {
      await process.stop({ timeoutMs: 0 })
      await database.drop()
    },
  }
}

test('a piece held so long that its tick was forgotten is read again, and its effects happen once', async () => {
  await using s = await slow()
  await s.b.publish(20, undefined, 10)
  await s.begun(11)
  await s.routed()
  await s.forget()
  s.goOn()
  await s.b.handled(33)
  const { rows } = await s.b.pool.query('select n from effects where grp = $1', [s.b.stream])
  expect(rows.map(({ n }) => n).toSorted((x, y) => x - y)).toEqual([
    ...Array.from({ length: 30 }, (_, n) => n),
    1_000,
    1_001,
    1_002,
  ])
  expect(s.errors.filter((message) => message.includes('forgotten'))).toHaveLength(1)
  expect(await s.dangling()).toBe(0)
  expect((await s.process.stream(s.b.stream).group().status()).lag).toBe(0)
})
