import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto'
import { Kysely, PostgresDialect } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineProvider } from '../../src/effects.ts'
import { defineMessage, defineTopology } from '../../src/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { acme, charging, closeWindow, entries, LEDGER, lapse, ledgerOf, operation, processOn } from './bench.ts'
import { Psp } from './psp.ts'

const CaptureRequested = defineMessage('capture.requested', z.object({ operation: z.string() }))
const ReceiptDue = defineMessage('receipt.due', z.object({ operation: z.string() }))

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
  await db.pool.query(LEDGER)
})
afterAll(() => db.drop())

/** A queue of its own whose handler charges, books, and asks for a receipt. */
function shop(retry: object = { minMs: 5, maxMs: 20, maxAttempts: 8 }) {
  const [queue, receipts] = [randomUUID(), randomUUID()]
  const topology = defineTopology({
    queues: { [queue]: { retry }, [receipts]: {} },
  })
  const process = processOn(db.url, { topology, max: 15 })
  const ask = async (name: string, id = randomUUID()) => {
    const message = { ...CaptureRequested.create({ operation: name }), routingKey: queue, id }
    await process.transaction((tx) => process.posthaste.publish(tx, message))
    return id
  }
  const waiting = async () => {
    const { queues } = await process.posthaste.audit()
    return queues.find((one) => one.queue === receipts)!.routed
  }
  const ended = (name: 'completed' | 'dead-lettered', count = 1) =>
    until(() => process.told(name).filter((event) => (event as { queue: string }).queue === queue).length >= count)
  return { ...process, queue, receipts, ask, waiting, ended }
}

type Shop = ReturnType<typeof shop>

function serve({ posthaste, queue, receipts }: Shop, psp: Psp) {
  return posthaste
    .consumer(queue, { guarantee: 'at-least-once', concurrency: 4, batchSize: 1 })
    .otherwise(async (delivery, { complete }) => {
      const { operation: name } = delivery.payload as { operation: string }
      const charge = await posthaste.effects.run(name, charging(psp))
      if (charge.status === 'unknown') return delivery.retry({ delayMs: 5 })
      if (charge.status === 'needs_review') return delivery.deadLetter(charge.reason)
      await complete((tx, publish) =>
        charge.record(tx, async () => {
          if (charge.status === 'succeeded') await tx.query('insert into ledger values ($1, 500)', [name])
          await publish({ ...ReceiptDue.create({ operation: name }), routingKey: receipts })
        }),
      )
    })
}

describe('a handler', () => {
  test('records outcome, ledger entry, inbox row, outgoing message and the end of the delivery in one transaction (step 3)', async () => {
    const [psp, name, bench] = [new Psp(), operation(), shop()]
    serve(bench, psp)
    await bench.posthaste.start()
    const id = await bench.ask(name)
    await bench.ended('completed')
    const { rows } = await db.pool.query(
      `select (select xmin::text from posthaste.effects where operation = $1) as effect,
              (select xmin::text from ledger where operation = $1) as entry,
              (select xmin::text from posthaste.inbox_other where message_id = $2) as inbox,
              (select xid::text from posthaste.outbox where type = 'receipt.due' and causation_id = $2::text) as receipt`,
      [name, id],
    )
    // what is written behind the savepoint of the record bears that savepoint's number; the log bears the transaction's
    expect(rows[0].effect).toBe(rows[0].entry)
    expect(rows[0].inbox).toMatch(/^\d+$/)
    expect(rows[0].receipt).toBe(rows[0].inbox)
    expect(await entries(db.pool, name)).toBe(1)
    await until(async () => (await bench.waiting()) === 1)
  })

  test('of two messages that ask for one charge: charged once, booked once, one receipt, both done (E-9)', async () => {
    const [psp, name, bench] = [new Psp(), operation(), shop()]
    serve(bench, psp)
    await bench.posthaste.start()
    await Promise.all([bench.ask(name), bench.ask(name), bench.ask(name)])
    await bench.ended('completed', 3)
    expect(psp.executed).toHaveLength(1)
    expect(await entries(db.pool, name)).toBe(1)
    await until(async () => (await bench.waiting()) === 1)
  })

  test('of two messages that ask for different amounts under one name: one is charged, the other is a dead letter at once (E-9)', async () => {
    const [psp, name, bench] = [new Psp(), operation(), shop()]
    bench.posthaste.consumer(bench.queue, { guarantee: 'at-least-once' }).otherwise(async (delivery, { complete }) => {
      const { cents } = delivery.payload as { cents: number }
      const charge = await bench.effects.run(name, charging(psp, cents))
      if (charge.status !== 'succeeded') return delivery.retry({ delayMs: 5 })
      await complete((tx) => charge.record(tx, () => tx.query('insert into ledger values ($1, $2)', [name, cents])))
    })
    await bench.posthaste.start()
    const asked = [500, 700].map((cents) => ({ type: 'capture', routingKey: bench.queue, payload: { cents } }))
    await bench.transaction((tx) => bench.posthaste.publish(tx, asked))
    await bench.ended('completed')
    await bench.ended('dead-lettered')
    expect(psp.requests).toHaveLength(1)
    expect(await entries(db.pool, name)).toBe(1)
    const [dead] = await bench.posthaste.queue(bench.queue).deadLetters.list()
    expect(dead!.history.at(-1)).toMatchObject({ code: 'EFFECT_CONFLICT' })
    expect(bench.told('retried')).toEqual([])
  })

  test('is attempted again while the outcome is unknown, and charges once', async () => {
    const [psp, name, bench] = [new Psp().will('lost-after', '500-before', 'lost-before'), operation(), shop()]
    serve(bench, psp)
    await bench.posthaste.start()
    await bench.ask(name)
    await bench.ended('completed')
    expect(psp.executed).toHaveLength(1)
    expect(await entries(db.pool, name)).toBe(1)
  })

  test('that is redriven from the dead letters enters at the ledger: a recorded charge is not made again (E-12)', async () => {
    const [psp, name, bench] = [new Psp(), operation(), shop({ minMs: 1, maxMs: 1, maxAttempts: 1 })]
    let broken = true
    bench.posthaste.consumer(bench.queue, { guarantee: 'at-least-once' }).otherwise(async (_, { complete }) => {
      const charge = await bench.effects.run(name, charging(psp))
      if (charge.status !== 'succeeded') throw new Error(charge.status)
      await bench.transaction((tx) => charge.record(tx, () => tx.query('insert into ledger values ($1, 500)', [name])))
      if (broken) throw new Error('a bug after the charge')
      await complete()
    })
    await bench.posthaste.start()
    await bench.ask(name)
    await bench.ended('dead-lettered')
    broken = false
    const [dead] = await bench.posthaste.queue(bench.queue).deadLetters.list()
    await bench.posthaste.deadLetters.redrive(dead!.id, { by: 'ada' })
    await bench.ended('completed')
    expect(psp.requests).toHaveLength(1)
    expect(await entries(db.pool, name)).toBe(1)
  })

  test('that needs review is a dead letter; what a person finds out is recorded when it is redriven, with who and why (E-12)', async () => {
    const [psp, name, bench] = [new Psp().will('lost-after'), operation(), shop({ minMs: 1, maxMs: 1, maxAttempts: 1 })]
    serve(bench, psp)
    await bench.posthaste.start()
    await bench.ask(name)
    await bench.ended('dead-lettered')
    await closeWindow(db.pool, name)
    psp.forget()
    psp.executed.length = 0 // the provider denies it, too
    const redrive = async () => {
      const [dead] = await bench.posthaste.queue(bench.queue).deadLetters.list()
      await bench.posthaste.deadLetters.redrive(dead!.id)
    }
    await redrive()
    await bench.ended('dead-lettered', 2)
    expect(await ledgerOf(db.pool, name)).toMatchObject({ state: 'needs_review' })
    const found = {
      as: 'succeeded',
      by: 'ada',
      reason: 'ticket 42: in the report',
      response: { id: 'ch_9', cents: 500 },
    } as const
    await bench.effects.resolve(name, found)
    await redrive()
    await bench.ended('completed')
    expect(await entries(db.pool, name)).toBe(1)
    const { state, attempts } = await ledgerOf(db.pool, name)
    expect(state).toBe('succeeded')
    expect(attempts.find(({ event }: { event: string }) => event === 'resolved')).toMatchObject({
      worker: 'ada',
      reason: expect.stringContaining('ticket 42'),
    })
    expect(psp.requests).toHaveLength(1)
  })

  test.each([
    ['an unknown outcome', new Psp().will('lost-before', 'lost-before'), 'its outcome is unknown'],
    ['an outcome that it has not recorded', new Psp(), 'not recorded'],
  ])('cannot complete its delivery with %s by mistake', async (_, psp, reason) => {
    for (const completing of ['by returning', 'by complete()']) {
      const [name, bench] = [operation(), shop({ minMs: 1, maxMs: 1, maxAttempts: 1 })]
      bench.posthaste.consumer(bench.queue, { guarantee: 'at-least-once' }).otherwise(async (__, { complete }) => {
        await bench.effects.run(name, charging(psp))
        if (completing === 'by complete()') await complete()
      })
      await bench.posthaste.start()
      await bench.ask(name)
      await bench.ended('dead-lettered')
      const [dead] = await bench.posthaste.queue(bench.queue).deadLetters.list()
      expect(dead!.history.at(-1)).toMatchObject({ code: 'EFFECT_UNSETTLED', message: expect.stringContaining(reason) })
    }
  })

  test('may set an unknown outcome aside, for a webhook or a person', async () => {
    const [psp, name, bench] = [new Psp().will('lost-after'), operation(), shop()]
    bench.posthaste.consumer(bench.queue, { guarantee: 'at-least-once' }).otherwise(async () => {
      const charge = await bench.effects.run(name, charging(psp))
      if (charge.status === 'unknown') charge.setAside()
    })
    await bench.posthaste.start()
    await bench.ask(name)
    await bench.ended('completed')
    expect((await bench.effects.list({ startingWith: name })).map(({ state }) => state)).toEqual(['unknown'])
  })

  test('reads the amount from the database: a late message charges what is due now (O-3)', async () => {
    const [psp, name, bench] = [new Psp(), operation(), shop()]
    await db.pool.query('create table if not exists payments (operation text, cents int)')
    await db.pool.query('insert into payments values ($1, 700)', [name])
    bench.posthaste.consumer(bench.queue, { guarantee: 'at-least-once' }).otherwise(async (delivery, { complete }) => {
      const { rows } = await bench.pool.query('select cents from payments where operation = $1', [name])
      const charge = await bench.effects.run(name, charging(psp, rows[0].cents))
      if (charge.status !== 'succeeded') return delivery.retry()
      await complete((tx) =>
        charge.record(tx, () => tx.query('insert into ledger values ($1, $2)', [name, rows[0].cents])),
      )
    })
    await bench.ask(name)
    await db.pool.query('update payments set cents = 650 where operation = $1', [name])
    await bench.posthaste.start()
    await bench.ended('completed')
    expect(psp.executed).toMatchObject([{ cents: 650 }])
  })

  test('calls a provider that forgets keys sooner than the queue stops repeating: refused before anything is called (E-3)', async () => {
    const [psp, name, bench] = [new Psp(), operation(), shop({ maxAttempts: 1 })]
    const hasty = defineProvider('hasty', { keyWindowMs: 20_000 })
    bench.posthaste.consumer(bench.queue, { guarantee: 'at-least-once' }).otherwise(async () => {
      await bench.effects.run(name, { ...charging(psp), provider: hasty })
    })
    await bench.posthaste.start()
    await bench.ask(name)
    await bench.ended('dead-lettered')
    const [dead] = await bench.posthaste.queue(bench.queue).deadLetters.list()
    expect(dead!.history.at(-1)).toMatchObject({ code: 'PROVIDER_WINDOW_TOO_SHORT' })
    expect(psp.requests).toEqual([])
  })
})

describe('start', () => {
  test('refuses a provider that forgets keys sooner than the queue stops repeating, with the numbers and what to change (E-3)', async () => {
    const bench = shop({ minMs: 1_000, maxMs: 60_000, maxAttempts: 5 })
    const hasty = defineProvider('hasty', { keyWindowMs: 100_000 })
    bench.posthaste.consumer(bench.queue, { guarantee: 'at-least-once', providers: [hasty] }).otherwise(() => {})
    await expect(bench.posthaste.start()).rejects.toMatchObject({
      code: 'PROVIDER_WINDOW_TOO_SHORT',
      keyWindowMs: 100_000,
      neededMs: 180_000,
      message: expect.stringMatching(/"hasty".*100000 ms \(keyWindowMs\).*180000 ms \(retry\.maxAttempts/),
    })
    const patient = shop({ minMs: 1_000, maxMs: 60_000, maxAttempts: 5 })
    patient.posthaste.consumer(patient.queue, { guarantee: 'at-least-once', providers: [acme] }).otherwise(() => {})
    await patient.posthaste.start()
  })

  test('refuses an inbox that forgets sooner than a consumer stops repeating, with the numbers and what to change (C-6)', async () => {
    const { posthaste, queue } = shop({ minMs: 1_000, maxMs: 86_400_000, factor: 100, maxAttempts: 9 })
    posthaste.consumer(queue, { guarantee: 'at-least-once', leaseMs: 86_400_000 }).otherwise(() => {})
    await expect(posthaste.start()).rejects.toMatchObject({
      code: 'RETENTION_TOO_SHORT',
      message: expect.stringMatching(/691200000.*retry\.maxAttempts.*leaseMs.*needs \d+ ms/),
    })
  })
})

describe('webhooks', () => {
  const event = (name: string, id = randomUUID()) => ({
    id: `evt_${id}`,
    operation: name,
    charge: { id: 'ch_1', cents: 500 },
  })

  function receiver(bench: ReturnType<typeof processOn>) {
    return (sent: ReturnType<typeof event>, as: 'succeeded' | 'failed' = 'succeeded') =>
      bench.transaction((tx) =>
        bench.effects.webhook(tx, { provider: 'acme', eventId: sent.id }, () =>
          bench.effects.record(tx, sent.operation, { as, by: `webhook ${sent.id}`, response: sent.charge }, () =>
            tx.query('insert into ledger values ($1, 500)', [sent.operation]),
          ),
        ),
      )
  }

  test('enter by (provider, event id): sent twice, or by two at once, they count once (E-13)', async () => {
    const [psp, name, bench] = [new Psp().will('lost-after'), operation(), processOn(db.url)]
    const receive = receiver(bench)
    await bench.effects.run(name, charging(psp))
    const sent = event(name)
    const results = await Promise.all([receive(sent), receive(sent), receive(sent)])
    expect(results.map(({ status }) => status).toSorted()).toEqual(['duplicate', 'duplicate', 'processed'])
    expect(await entries(db.pool, name)).toBe(1)
  })

  test('resolve an unknown with its business rows, and the run that follows gets the recorded answer (E-13)', async () => {
    const [psp, name, bench] = [new Psp().will('lost-after'), operation(), processOn(db.url)]
    expect(await bench.effects.run(name, charging(psp))).toMatchObject({ status: 'unknown' })
    const result = await receiver(bench)(event(name))
    expect(result).toMatchObject({ status: 'processed', value: { status: 'recorded' } })
    const run = await bench.effects.run(name, charging(psp))
    expect(run).toMatchObject({ status: 'succeeded', replayed: true, response: { id: 'ch_1', cents: 500 } })
    expect(await receiver(bench)(event(name))).toMatchObject({ value: { status: 'duplicate' } })
    expect(psp.requests).toHaveLength(1)
    expect(await entries(db.pool, name)).toBe(1)
  })

  test('that overtake a call under way win, and the call finds the operation recorded (E-13)', async () => {
    const [psp, name, bench] = [new Psp(), operation(), processOn(db.url)]
    const run = await bench.effects.run(name, {
      ...charging(psp),
      call: async (call) => {
        const answer = await psp.capture(500)(call)
        await receiver(bench)(event(name))
        return answer
      },
    })
    expect(run).toMatchObject({ status: 'unknown' })
    expect(await bench.effects.run(name, charging(psp))).toMatchObject({ status: 'succeeded', replayed: true })
    expect(await entries(db.pool, name)).toBe(1)
  })

  test('for an operation that is not there yet say so; what contradicts the record is marked and changes nothing (E-13)', async () => {
    const [psp, name, bench] = [new Psp(), operation(), processOn(db.url)]
    expect(await receiver(bench)(event(name))).toMatchObject({ value: { status: 'missing' } })
    const charge = await bench.effects.run(name, charging(psp))
    if (charge.status !== 'succeeded') throw new Error(charge.status)
    await bench.transaction((tx) => charge.record(tx))
    expect(await receiver(bench)(event(name), 'failed')).toMatchObject({ value: { status: 'contradicted' } })
    expect(await ledgerOf(db.pool, name)).toMatchObject({ state: 'succeeded', contradicted: true })
    expect(bench.told('effect-contradicted')).toHaveLength(1)
    expect((await bench.effects.list({ startingWith: name })).map(({ contradicted }) => contradicted)).toEqual([true])
  })
})

describe('flows of several steps', () => {
  test('go on at the first step that is not recorded, and undo under keys of their own (E-10)', async () => {
    const bench = processOn(db.url)
    const order = randomUUID()
    const calls: string[] = []
    let crash = true
    const step = async (name: string, answer: () => unknown) => {
      const effect = await bench.effects.run(`${name}:${order}`, {
        request: { order },
        provider: acme,
        call: async ({ idempotencyKey, failed }) => {
          calls.push(`${name} ${idempotencyKey}`)
          const said = answer()
          return said === 'no' ? failed('no') : 'done'
        },
      })
      if (effect.status !== 'succeeded' && effect.status !== 'failed') throw new Error(effect.status)
      await bench.transaction((tx) => effect.record(tx))
      return effect.status
    }
    const saga = async () => {
      await step('reserve', () => 'yes')
      await step('capture', () => 'yes')
      if (crash) throw new Error('the process dies here')
      if ((await step('ship', () => 'no')) === 'failed') {
        await step('refund:capture', () => 'yes')
        await step('release:reserve', () => 'yes')
      }
    }
    await expect(saga()).rejects.toThrow('dies')
    crash = false
    await saga()
    await saga()
    expect(calls.map((call) => call.split(' ')[0])).toEqual([
      'reserve',
      'capture',
      'ship',
      'refund:capture',
      'release:reserve',
    ])
    expect(new Set(calls.map((call) => call.split(' ')[1])).size).toBe(5)
  })
})

describe('stored bodies', () => {
  test('are redacted before anybody gets them, so that the original and a duplicate take the same branch (E-8)', async () => {
    const name = operation()
    const redact = (body: unknown) => ({ ...(body as object), card: '[card]' })
    const { effects, transaction } = processOn(db.url, { bodies: { redact } })
    const options = { request: 1, provider: acme, call: async () => ({ id: 'ch_1', card: '4111 1111 1111 1111' }) }
    const first = await effects.run(name, options)
    if (first.status !== 'succeeded') throw new Error(first.status)
    expect(first.response).toEqual({ id: 'ch_1', card: '[card]' })
    await transaction((tx) => first.record(tx))
    expect(await effects.run(name, options)).toMatchObject({ response: { id: 'ch_1', card: '[card]' } })
    expect(JSON.stringify(await ledgerOf(db.pool, name))).not.toContain('4111')
  })

  test('are sealed with your key, and opened for duplicates; without the key the rest can be read (O-6)', async () => {
    const [psp, name, key] = [new Psp(), operation(), randomBytes(32)]
    const seal = (text: string) => {
      const iv = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', key, iv)
      return Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64')
    }
    const unseal = (sealed: string) => {
      const bytes = Buffer.from(sealed, 'base64')
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAuthTag(bytes.subarray(-16))
      return decipher.update(bytes.subarray(12, -16), undefined, 'utf8') + decipher.final('utf8')
    }
    const { effects, transaction } = processOn(db.url, { bodies: { seal, unseal } })
    const first = await effects.run(name, charging(psp))
    if (first.status !== 'succeeded') throw new Error(first.status)
    await transaction((tx) => first.record(tx))
    const again = await effects.run(name, charging(psp))
    expect(again).toMatchObject({ status: 'succeeded', response: first.response })
    const { response, sealed } = await ledgerOf(db.pool, name)
    expect(sealed).toBe(true)
    expect(response).not.toContain('cents')
    expect(await effects.show(name)).toMatchObject({ response: first.response })
    expect(await processOn(db.url).effects.show(name)).toMatchObject({ state: 'succeeded', response: '[sealed]' })
    expect(() => processOn(db.url, { bodies: { seal } })).toThrow('effects.unseal is missing')
  })

  test('are erased on demand, and the operation stays done (O-6)', async () => {
    const [psp, name] = [new Psp(), operation()]
    const { effects, transaction } = processOn(db.url)
    const first = await effects.run(name, charging(psp))
    if (first.status !== 'succeeded') throw new Error(first.status)
    await transaction((tx) => first.record(tx))
    expect(await effects.erase({ endedBefore: new Date(Date.now() + 60_000) })).toBeGreaterThanOrEqual(1)
    const { attempts, ...row } = await ledgerOf(db.pool, name)
    expect([row, ...attempts].map(({ response }) => response)).toEqual(Array(attempts.length + 1).fill(null))
    expect(await effects.run(name, charging(psp))).toMatchObject({ status: 'succeeded', replayed: true })
    expect(psp.requests).toHaveLength(1)
  })
})

describe('operators', () => {
  test('see the record of every attempt, which nobody can rewrite (O-4)', async () => {
    const [psp, name] = [new Psp().will('lost-after'), operation()]
    const { effects } = processOn(db.url)
    await effects.run(name, charging(psp))
    await effects.run(name, charging(psp))
    const shown = await effects.show(name)
    expect(shown!.attempts.map(({ event, outcome }) => [event, outcome])).toEqual([
      ['claimed', undefined],
      ['called', undefined],
      ['answered', 'unknown'],
      ['claimed', undefined],
      ['reconciled', 'succeeded'],
    ])
    for (const attempt of shown!.attempts) {
      expect(attempt).toMatchObject({ at: expect.any(Date), worker: expect.stringContaining(`${process.pid}`) })
      expect(attempt.requestHash).toMatch(/^[0-9a-f]{64}$/)
    }
    for (const change of [
      `update posthaste.effect_attempts set outcome = 'failed' where operation = $1`,
      'delete from posthaste.effect_attempts where operation = $1',
    ]) {
      await expect(db.pool.query(change, [name])).rejects.toMatchObject({ code: 'PH006' })
    }
  })

  test('find what wants them: unknown, in review, begun too long ago, known and not recorded (O-5)', async () => {
    await using alone = await createDatabase()
    const { effects } = processOn(alone.url)
    const psp = new Psp()
    await effects.run('unknown', charging(psp.will('lost-after')))
    await effects.run('review', charging(psp.will('lost-before')))
    await closeWindow(alone.pool, 'review')
    await effects.run('review', charging(psp))
    await effects.run('unrecorded', charging(psp))
    expect((await effects.list()).map(({ operation: name }) => name)).toEqual(['unknown', 'review'])
    await lapse(alone.pool, 'unrecorded')
    expect((await effects.list()).map(({ operation: name }) => name)).toEqual(['unknown', 'review', 'unrecorded'])
    expect(await effects.list({ state: 'needs_review' })).toMatchObject([
      { operation: 'review', windowUntil: expect.any(Date) },
    ])
    expect(await effects.list({ after: 'unknown', limit: 1 })).toMatchObject([{ operation: 'review' }])
    expect(await effects.list({ olderThanMs: 60_000 })).toEqual([])
    expect(await effects.account()).toEqual({
      started: 1,
      succeeded: 0,
      failed: 0,
      unknown: 1,
      needsReview: 1,
      overdue: 0,
      unrecorded: 1,
      contradicted: 0,
    })
  })

  test('cannot resolve what is recorded, under way, known to be otherwise, or not there (E-12)', async () => {
    const [psp, name] = [new Psp(), operation()]
    const { effects, transaction } = processOn(db.url)
    const said = { as: 'failed', by: 'ada', reason: 'a guess' } as const
    const refusal = (because: string) => expect.objectContaining({ code: 'EFFECT_NOT_RESOLVED', because })
    await expect(effects.resolve(name, said)).rejects.toEqual(refusal('missing'))
    const charge = await effects.run(name, charging(psp))
    await expect(effects.resolve(name, said)).rejects.toEqual(refusal('busy'))
    await lapse(db.pool, name)
    await expect(effects.resolve(name, said)).rejects.toEqual(refusal('contradicted'))
    if (charge.status !== 'succeeded') throw new Error(charge.status)
    await transaction((tx) => charge.record(tx))
    await expect(effects.resolve(name, said)).rejects.toEqual(refusal('ended'))
  })

  test('may let an operation be called again with a new key, a bounded number of times, with who and why (E-5, E-12)', async () => {
    const [psp, name] = [new Psp(), operation()]
    const { effects } = processOn(db.url)
    const options = { ...charging(psp), reconcile: async () => undefined }
    const retry = { as: 'retry', by: 'ada', reason: 'the provider confirms that there is nothing' } as const
    for (let key = 1; key <= 4; key += 1) {
      psp.will('lost-before')
      await effects.run(name, options)
      await closeWindow(db.pool, name)
      expect(await effects.run(name, options)).toMatchObject({ status: 'needs_review' })
      await effects.resolve(name, retry)
    }
    psp.will('lost-before')
    await effects.run(name, options)
    await expect(effects.resolve(name, retry)).rejects.toMatchObject({ because: 'exhausted' })
    expect(new Set(psp.requests.map(({ key }) => key)).size).toBe(5)
    const { attempts } = await ledgerOf(db.pool, name)
    expect(attempts.filter(({ event }: { event: string }) => event === 'resolved')).toHaveLength(4)
  })
})

test('with Kysely: the record, the rows and the message share the transaction', async () => {
  const [psp, name] = [new Psp(), operation()]
  const bench = processOn(db.url)
  const kysely = new Kysely<{ ledger: { operation: string; cents: number } }>({
    dialect: new PostgresDialect({ pool: bench.pool }),
  })
  const charge = await bench.effects.run(name, charging(psp))
  if (charge.status !== 'succeeded') throw new Error(charge.status)
  const result = await kysely.transaction().execute((tx) =>
    charge.record(tx, async () => {
      await tx.insertInto('ledger').values({ operation: name, cents: charge.response.cents }).execute()
      return 'booked'
    }),
  )
  expect(result).toEqual({ status: 'recorded', value: 'booked' })
  expect(await ledgerOf(db.pool, name)).toMatchObject({ state: 'succeeded' })
})
