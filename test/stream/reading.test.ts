import { expect, test } from 'vitest'
import { bench, disordered, EFFECT } from './bench.ts'

test('every group gets every message once, in the order of its keys', async () => {
  const b = await bench()
  const one = b.process()
  for (const group of [b.stream, `${b.stream}-fraud`])
    one.consumer(b.stream, { group, concurrency: 4, batchSize: 50 }).on(b.Moved, async ({ id, payload }, { tx }) => {
      await tx.query(EFFECT, [group, id, payload.account, payload.n])
    })
  await one.start()
  const ids = await b.publish(2_000)
  for (const group of [b.stream, `${b.stream}-fraud`]) {
    await b.handled(2_000, group)
    const effects = await b.effects(group)
    expect(effects.map(({ message_id }) => message_id).toSorted()).toEqual(ids.toSorted())
    expect(disordered(effects)).toEqual([])
  }
})
