import { describe, expect } from 'vitest'
import { z } from 'zod'
import { type Contract, defineMessage, defineTopology, type Guarantee, type PosthasteOptions } from '../../src/index.ts'
import { service, unaccounted } from '../queue/bench.ts'
import { cli } from '../support/cli.ts'
import { createDatabase } from '../support/database.ts'
import { test } from '../support/side-by-side.ts'
import { until } from '../support/until.ts'

const V1 = defineMessage('price.set', z.object({ n: z.int(), cents: z.int() }))
const V2 = defineMessage(
  'price.set',
  z.object({ n: z.int(), price: z.object({ cents: z.int(), currency: z.string() }) }),
  {
    version: 2,
    upcast: { 1: ({ n, cents }) => ({ n, price: { cents, currency: 'EUR' } }) },
  },
)

const version1 = (n: number) => V1.create({ n, cents: n * 100 })
const version2 = (n: number) => V2.create({ n, price: { cents: n * 100, currency: 'CHF' } })

/** A deployment of one version of a service: it consumes the queue, and notes what it was given. */
async function deployed<C extends Contract<'price.set', never, { n: number }>>(
  contract: C,
  guarantee: Guarantee,
  { url, queue, ...policy }: { url: string; queue: string; newerVersions?: 'leave' | 'dead-letter' },
) {
  const topology = defineTopology({
    queues: { [queue]: { from: [contract as never], retry: { minMs: 1, maxMs: 1, maxAttempts: 2 }, ...policy } },
  })
  const deployment = service(url, topology as never, { service: 'prices' } as PosthasteOptions<never, never>)
  const seen: { n: number; payload: unknown; version: number; attempt: number }[] = []
  deployment.posthaste
    .consumer(queue as never, { guarantee, batchSize: 3, concurrency: 2 })
    .on(contract as never, ({ payload, version, attempt }) => {
      seen.push({ n: (payload as { n: number }).n, payload, version, attempt })
    })
  await deployment.posthaste.start()
  return { ...deployment, seen }
}

describe.concurrent.each<Guarantee>(['exactly-once-effects', 'at-least-once', 'at-most-once'])('%s', (guarantee) => {
  test('a rolling deployment: old and new producers and consumers on one queue, everything is handled once, in its shape', async () => {
    await using own = await createDatabase()
    const old = await deployed(V1 as never, guarantee, { url: own.url, queue: 'prices' })
    const left = old.posthaste.until('left', ({ version }) => version === 2)
    await old.publish(version1(1), version1(2))
    await until(() => old.seen.length === 2)

    // a new producer comes before any new consumer
    await old.publish(version2(3), version2(4))
    await left
    const young = await deployed(V2 as never, guarantee, { url: own.url, queue: 'prices' })
    await old.publish(version1(5), version2(6), version1(7), version2(8))
    await until(() => old.seen.length + young.seen.length === 8, { timeoutMs: 30_000 })
    await old.posthaste.stop()
    await young.publish(version1(9), version2(10))
    await until(() => old.seen.length + young.seen.length === 10, { timeoutMs: 30_000 })

    const seen = [...old.seen, ...young.seen]
    expect(seen.map(({ n }) => n).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(old.seen.every(({ version }) => version === 1)).toBe(true)
    expect(seen.every(({ attempt }) => attempt === 1)).toBe(true)
    for (const { n, payload, version } of young.seen)
      expect(payload).toEqual({ n, price: { cents: n * 100, currency: version === 1 ? 'EUR' : 'CHF' } })
    expect(young.seen.find(({ n }) => n === 9)).toMatchObject({ version: 1 })
    expect(await young.posthaste.deadLetters.count()).toBe(0)
    await until(async () => unaccounted(await young.posthaste.audit()).length === 0)
  })

  test('by policy, a version that is newer than the consumer is a dead letter, which a newer one handles when it is redriven', async () => {
    await using own = await createDatabase()
    const policy = { url: own.url, queue: 'strict', newerVersions: 'dead-letter' as const }
    const old = await deployed(V1 as never, guarantee, policy)
    const dead = old.posthaste.until('dead-lettered')
    await old.publish(version2(1))
    expect(await dead).toMatchObject({ reason: 'unknown-version', error: { code: 'UNKNOWN_VERSION' } })
    await old.posthaste.stop()
    const young = await deployed(V2 as never, guarantee, policy)
    await young.posthaste.deadLetters.redrive({})
    await until(() => young.seen.length === 1)
  })
})

test('a version below the oldest upcaster is a dead letter, whatever the policy', async () => {
  await using own = await createDatabase()
  const V3 = defineMessage('price.set', z.object({ n: z.int() }), { version: 3, upcast: { 2: ({ n }) => ({ n }) } })
  const young = await deployed(V3 as never, 'exactly-once-effects', { url: own.url, queue: 'prices' })
  const dead = young.posthaste.until('dead-lettered')
  await young.publish(version1(1))
  expect(await dead).toMatchObject({ reason: 'unknown-version' })
})

describe.concurrent('contracts stored with the topology', () => {
  test('tell the JSON Schema of each version, whoever declared it, and the command line shows them', async () => {
    await using own = await createDatabase()
    const lax = {
      '~standard': { version: 1 as const, vendor: 'lax', validate: (value: unknown) => ({ value }) },
    }
    const Handled = defineMessage('handled.by.pattern', z.object({ at: z.date() }))
    const old = service(own.url, defineTopology({ queues: { a: { from: [V1] } } }), { service: 'old' })
    await old.posthaste.declare()
    const young = service(
      own.url,
      defineTopology({ queues: { a: { from: [V2] } }, contracts: [defineMessage('only.published', lax)] }),
      { service: 'young' },
    )
    young.posthaste.consumer('a').on(Handled, () => {})
    await young.posthaste.declare()
    await young.posthaste.declare()

    const { contracts } = await young.posthaste.topology()
    expect(contracts.map(({ name, version, owner }) => [name, version, owner])).toEqual([
      ['handled.by.pattern', 1, 'young'],
      ['only.published', 1, 'young'],
      ['price.set', 2, 'young'],
      ['price.set', 1, 'old'],
    ])
    expect(contracts[3]!.schema).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      properties: { n: { type: 'integer' }, cents: { type: 'integer' } },
      required: ['n', 'cents'],
    })
    expect(contracts[0]!.schema).toMatchObject({ properties: { at: {} } })
    expect(contracts[1]).toMatchObject({ schema: null, vendor: 'lax' })
    expect(await young.posthaste.topologyDiff()).toMatchObject({
      missing: [],
      extra: ['contract "price.set" version 1'],
    })

    const env = { DATABASE_URL: own.url }
    const all = await cli(['contracts'], { env })
    expect(all.stdout).toContain('not written by lax')
    const one = JSON.parse((await cli(['contracts', 'price.set', '--json'], { env })).stdout)
    expect(one.contracts.map(({ contractVersion }: { contractVersion: number }) => contractVersion)).toEqual([2, 1])
    expect((await cli(['contracts', 'only.published'], { env })).stdout).toContain(
      'no JSON Schema: lax cannot write one',
    )
    expect(await cli(['contracts', 'nobody'], { env })).toMatchObject({ code: 1 })
  })

  test('a library that knows the standard for JSON Schema is asked, and one that throws is no error', async () => {
    const { jsonSchemaOf } = await import('../../src/rules/json-schema.ts')
    const of = (more: object) =>
      jsonSchemaOf({
        '~standard': { version: 1, vendor: 'x', validate: (value: unknown) => ({ value }), ...more },
      } as never)
    expect(of({ jsonSchema: { input: ({ target }: { target: string }) => ({ target }) } })).toEqual({
      target: 'draft-2020-12',
    })
    expect(
      of({
        jsonSchema: {
          input: () => {
            throw new Error('no')
          },
        },
      }),
    ).toBe(null)
  })
})
