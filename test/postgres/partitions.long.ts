import { expect, test } from 'vitest'
import { bench, consume } from './bench.ts'
import { goTo, p99, publishers, upkeepUntil } from './partitions.ts'

test('a producer open for 30 seconds while upkeep runs delays no other publisher', async () => {
  const b = await bench({ alone: true })
  await goTo(b, 200_100)
  const open = await b.connect()
  await open.query('begin')
  await b.publish(open)
  const until = performance.now() + 30_000
  const over = () => performance.now() > until
  const [{ ids, tookMs }] = await Promise.all([publishers(b, 4, over), upkeepUntil(b, over)])
  console.info(`${tookMs.length} publishes, p99 ${p99(tookMs).toFixed(1)} ms, longest ${tookMs.at(-1)!.toFixed(1)} ms`)
  expect(p99(tookMs)).toBeLessThan(100)
  await open.query('commit')
  const done = await upkeepUntil(
    b,
    (
      (n) => () =>
        n-- <= 0
    )(5),
  )
  expect(done.get('make_partitions(0)')).toBeGreaterThan(0)
  await b.drain()
  expect((await consume(await b.connect(), b.number)).length).toBe(ids.length + 1)
  await b.audit()
})
