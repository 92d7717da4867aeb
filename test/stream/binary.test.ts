import { expect, test } from 'vitest'
import { z } from 'zod'
import { defineMessage, pgDatabase } from '../../src/index.ts'
import type { Delivery } from '../../src/rules/delivery.ts'
import { until } from '../support/until.ts'
import { bench } from './bench.ts'

const BODIES = [
  Uint8Array.from({ length: 256 }, (_, n) => n),
  new Uint8Array(0),
  // what is no UTF-8, and what looks like an escape
  Uint8Array.from([0xff, 0xfe, 0x00, 0xc3, 0x28]),
  Buffer.from('\\x00\\\\"{},'),
  Buffer.alloc(200_000, 0x5c),
]

for (const guarantee of ['exactly-once-effects', 'at-least-once'] as const)
  for (const way of ['one by one', 'in batches'] as const)
    test(`bytes arrive as they were published, ${guarantee}, ${way}, at once and after waiting aside`, async () => {
      const b = await bench({ retry: { maxAttempts: 3 } })
      const process = b.process()
      const Blob = defineMessage('blob', z.undefined(), { exchange: b.exchange })
      const got = new Map<string, Delivery<unknown>>()
      const failed = new Set<string>()
      const take = (delivery: Delivery<unknown>) => {
        const isFirst = delivery.key!.startsWith('again') && !failed.has(delivery.id)
        if (isFirst) {
          failed.add(delivery.id)
          throw new Error('not now')
        }
        got.set(delivery.id, delivery)
      }
      const consumer = process.consumer(b.stream, { guarantee, batchSize: 20 })
      if (way === 'one by one') consumer.otherwise((delivery) => take(delivery))
      else consumer.onBatch(Blob, (deliveries) => deliveries.forEach(take))
      await process.start()

      const sent = BODIES.flatMap((body, n) => [
        { body, key: `once ${n}` },
        { body, key: `again ${n}` },
      ])
      const published = await pgDatabase(b.pool).transaction((tx) =>
        process.publish(
          tx,
          sent.map((message) => ({ ...message, exchange: b.exchange, type: 'blob', contentType: 'image/x' })),
        ),
      )
      await until(() => got.size === sent.length, { timeoutMs: 20_000 })
      for (const [n, { body, key }] of sent.entries()) {
        const delivery = got.get(published[n]!.id)!
        expect(delivery).toMatchObject({ key, contentType: 'image/x', payload: undefined })
        expect(Buffer.compare(delivery.body!, body), key).toBe(0)
      }
      expect([...got.values()].filter(({ attempt }) => attempt > 1).length).toBeGreaterThan(0)
    })
