import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { bench, disordered, EFFECT } from './bench.ts'

type Bench = Awaited<ReturnType<typeof bench>>

function reader(b: Bench, name: string, counts: Map<string, number>, options: { relay?: boolean } = {}) {
  const process = b.process()
  process.consumer(b.stream, { batchSize: 20, concurrency: 2 }).on(b.Moved, async ({ id, payload }, { tx }) => {
    await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
    counts.set(name, (counts.get(name) ?? 0) + 1)
  })
  return { process, start: () => process.start(options) }
}

test('processes that join and leave share the lanes: nothing is lost, doubled or out of order', async () => {
  const b = await bench()
  const counts = new Map<string, number>()
  const one = reader(b, 'one', counts)
  await one.start()
  const accountOf = (n: number) => `a${n % 40}`
  let published = 0
  const publishing = async (count: number) => {
    for (let n = 0; n < count; n += 50) {
      await b.publish(50, accountOf, published)
      published += 50
      await sleep(5)
    }
  }
  await publishing(500)
  const two = reader(b, 'two', counts, { relay: false })
  const three = reader(b, 'three', counts, { relay: false })
  await Promise.all([publishing(1_000), two.start(), three.start()])
  await until(
    async () => {
      await publishing(50)
      return (counts.get('two') ?? 0) > 0 && (counts.get('three') ?? 0) > 0
    },
    { timeoutMs: 25_000 },
  )
  await Promise.all([publishing(500), two.process.stop()])
  await publishing(200)
  await b.handled(published)
  const effects = await b.effects()
  expect(effects.length).toBe(published)
  expect(new Set(effects.map(({ message_id }) => message_id)).size).toBe(published)
  expect(disordered(effects)).toEqual([])
})

test('a group begins where it was told: with the oldest, with what comes then, at a time, or with a message', async () => {
  const b = await bench()
  const old = b.process()
  old.consumer(b.stream).on(b.Moved, async ({ id, payload }, { tx }) => {
    await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
  })
  await old.start()
  await b.publish(100)
  await b.handled(100)
  const at = (await b.pool.query('select clock_timestamp() as at')).rows[0].at as Date
  const ids = await b.publish(100, undefined, 100)
  await b.handled(200)
  await old.stop()

  const froms = { all: 'earliest', none: 'latest', time: at, message: ids[50]! } as const
  const fresh = b.process()
  for (const [name, from] of Object.entries(froms))
    fresh.consumer(b.stream, { group: `${b.stream}-${name}`, from }).on(b.Moved, async ({ id, payload }, { tx }) => {
      await tx.query(EFFECT, [`${b.stream}-${name}`, id, payload.account, payload.n])
    })
  await fresh.start()
  await b.publish(10, undefined, 200)
  const numbers = async (name: string) =>
    (await b.effects(`${b.stream}-${name}`)).map(({ n }) => n).toSorted((x, y) => x - y)
  const upTo = (from: number) => Array.from({ length: 210 - from }, (_, i) => from + i)
  await b.handled(210, `${b.stream}-all`)
  await b.handled(10, `${b.stream}-none`)
  await b.handled(110, `${b.stream}-time`)
  await b.handled(60, `${b.stream}-message`)
  expect(await numbers('all')).toEqual(upTo(0))
  expect(await numbers('none')).toEqual(upTo(200))
  expect(await numbers('time')).toEqual(upTo(100))
  expect(await numbers('message')).toEqual(upTo(150))
})
