import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { providerKeyOf } from '../../src/rules/effect.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { seeded } from '../support/random.ts'
import {
  acme,
  charge,
  charging,
  closeWindow,
  entries,
  LEDGER,
  lapse,
  ledgerOf,
  operation,
  processOn,
  stubborn,
} from './bench.ts'
import { type Answer, type Charge, gate, Psp } from './psp.ts'

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
  await db.pool.query(LEDGER)
})
afterAll(() => db.drop())

describe('a charge', () => {
  test('happens once and is recorded with its ledger entry, and every duplicate gets the recorded answer (E-8)', async () => {
    const [psp, name] = [new Psp(), operation()]
    const process = processOn(db.url)
    const first = await charge(process, name, charging(psp))
    expect(first).toMatchObject({
      status: 'succeeded',
      replayed: false,
      response: { id: expect.any(String), cents: 500 },
    })
    const second = await charge(processOn(db.url), name, charging(psp))
    expect(second).toMatchObject({
      status: 'succeeded',
      replayed: true,
      response: (first as { response: Charge }).response,
    })
    expect(psp.executed).toHaveLength(1)
    expect(psp.requests).toHaveLength(1)
    expect(await entries(db.pool, name)).toBe(1)
    expect(await ledgerOf(db.pool, name)).toMatchObject({ state: 'succeeded', outcome: 'succeeded', lease_until: null })
  })

  test('that is declined has definitely failed, and stays so for every duplicate (E-1, E-8)', async () => {
    const [psp, name] = [new Psp().will('decline'), operation()]
    const process = processOn(db.url)
    for (const replayed of [false, true]) {
      const declined = await charge(process, name, charging(psp))
      expect(declined).toMatchObject({
        status: 'failed',
        reason: 'declined',
        failure: { code: 'card_declined' },
        replayed,
      })
    }
    expect(psp.requests).toHaveLength(1)
    expect(psp.executed).toEqual([])
    expect(await entries(db.pool, name)).toBe(0)
  })

  test('is claimed, durably and with its key, before the provider is called (step 1)', async () => {
    const [psp, name] = [new Psp(), operation()]
    const { effects } = processOn(db.url)
    let seen: unknown
    await effects.run(name, {
      ...charging(psp),
      call: async (call) => {
        seen = await ledgerOf(db.pool, name)
        return await psp.capture(500)(call)
      },
    })
    expect(seen).toMatchObject({
      state: 'started',
      calls: 1,
      provider_key: psp.requests[0]!.key,
      attempts: [{ event: 'claimed' }, { event: 'called', provider_key: psp.requests[0]!.key }],
    })
  })

  test('two at once: one calls, the other is deferred while the lease is live', async () => {
    const [psp, name] = [new Psp(), operation()]
    const [calling, go] = [gate(), gate()]
    const slow = processOn(db.url).effects.run(name, {
      ...charging(psp),
      call: async (call) => {
        calling.open()
        await go.opened
        return await psp.capture(500)(call)
      },
    })
    await calling.opened
    const other = await processOn(db.url).effects.run(name, charging(psp))
    expect(other).toMatchObject({ status: 'unknown', retryAfterMs: expect.any(Number) })
    expect((other as { retryAfterMs: number }).retryAfterMs).toBeGreaterThan(1_000)
    go.open()
    expect(await slow).toMatchObject({ status: 'succeeded' })
    expect(psp.requests).toHaveLength(1)
  })
})

describe('the outcome', () => {
  test.each(['lost-before', 'lost-after', '500-before', '500-after', '409'] as const)(
    'of a call that ends with "%s" is unknown, never failed; then it is found out (E-1, E-2)',
    async (fate) => {
      const [psp, name] = [new Psp().will(fate), operation()]
      const process = processOn(db.url)
      const first = await charge(process, name, charging(psp))
      expect(first).toMatchObject({ status: 'unknown' })
      expect(await ledgerOf(db.pool, name)).toMatchObject({ state: 'unknown', outcome: null, lease_until: null })
      expect(await charge(process, name, charging(psp))).toMatchObject({ status: 'succeeded' })
      expect(psp.executed).toHaveLength(1)
      expect(await entries(db.pool, name)).toBe(1)
    },
  )

  test('of a call that does not answer in time is unknown, and its signal has fired (E-1)', async () => {
    const [psp, name] = [new Psp(), operation()]
    const { effects } = processOn(db.url)
    const options = {
      ...charging(psp),
      timeoutMs: 30,
      call: ({ signal }: { signal: AbortSignal }) =>
        new Promise<Answer>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    }
    const outcome = await effects.run(name, options)
    expect(outcome).toMatchObject({ status: 'unknown', reason: 'no answer within 30 ms' })
  })

  test('without a way to ask, an unknown call is repeated with the same key while the provider remembers it (E-2)', async () => {
    const [psp, name] = [new Psp().will('lost-after', '500-before'), operation()]
    const process = processOn(db.url)
    const { reconcile: _, ...options } = charging(psp)
    const seen = []
    for (let run = 0; run < 3; run += 1) seen.push((await charge(process, name, options)).status)
    expect(seen).toEqual(['unknown', 'unknown', 'succeeded'])
    expect(new Set(psp.requests.map(({ key }) => key)).size).toBe(1)
    expect(psp.executed).toHaveLength(1)
  })

  test('that is unknown when the window has closed is asked for once more, and then needs review: never repeated (E-2, E-3)', async () => {
    const [psp, name] = [new Psp().will('lost-before'), operation()]
    const process = processOn(db.url)
    await charge(process, name, charging(psp))
    await closeWindow(db.pool, name)
    psp.forget()
    expect(await charge(process, name, charging(psp))).toMatchObject({
      status: 'needs_review',
      reason: expect.stringContaining('forgotten'),
    })
    expect(await charge(process, name, charging(psp))).toMatchObject({ status: 'needs_review' })
    expect(psp.requests).toHaveLength(1)
    expect(psp.questions).toHaveLength(1)
    expect(process.told('effect-needs-review')).toHaveLength(1)
  })

  test('that can be found out after the window has closed is found out (E-3)', async () => {
    const [psp, name] = [new Psp().will('lost-after'), operation()]
    const process = processOn(db.url)
    await charge(process, name, charging(psp))
    await closeWindow(db.pool, name)
    expect(await charge(process, name, charging(psp))).toMatchObject({ status: 'succeeded' })
    expect(psp.requests).toHaveLength(1)
  })

  test('that cannot be asked for after the window has closed needs review', async () => {
    const [psp, name] = [new Psp().will('lost-after'), operation()]
    const process = processOn(db.url)
    const { reconcile: _, ...options } = charging(psp)
    await charge(process, name, options)
    await closeWindow(db.pool, name)
    expect(await charge(process, name, options)).toMatchObject({ status: 'needs_review' })
    const other = operation()
    await charge(process, other, charging(psp.will('lost-after')))
    await closeWindow(db.pool, other)
    const down = { ...charging(psp), reconcile: async () => Promise.reject(new Error('down')) }
    expect(await charge(process, other, down)).toMatchObject({ status: 'needs_review' })
    expect(psp.requests).toHaveLength(2)
  })

  test('of a question that is not answered stays unknown, and the call is not repeated meanwhile', async () => {
    const [psp, name] = [new Psp().will('lost-before'), operation()]
    const process = processOn(db.url)
    await charge(process, name, charging(psp))
    const down = { ...charging(psp), reconcile: async () => Promise.reject(new Error('down')) }
    expect(await charge(process, name, down)).toMatchObject({ status: 'unknown' })
    expect(psp.requests).toHaveLength(1)
    expect(await charge(process, name, charging(psp))).toMatchObject({ status: 'succeeded' })
  })

  test('whose answer cannot be stored is not lost: the error says why, and a repetition under the same key stores it', async () => {
    const [psp, name] = [new Psp(), operation()]
    const { effects } = processOn(db.url, { bodies: { responseBytes: 200 } })
    const large = async (call: Parameters<ReturnType<Psp['capture']>>[0]) => ({
      ...((await psp.capture(500)(call)) as Charge),
      trace: 'x'.repeat(300),
    })
    await expect(effects.run(name, { ...charging(psp), call: large, reconcile: undefined! })).rejects.toMatchObject({
      code: 'EFFECT_RESPONSE_REFUSED',
      message: expect.stringContaining('is longer than 200 bytes'),
    })
    expect(await ledgerOf(db.pool, name)).toMatchObject({ state: 'unknown', lease_until: null })
    expect(await effects.run(name, charging(psp))).toMatchObject({ status: 'succeeded' })
    expect(psp.executed).toHaveLength(1)
  })
})

describe('the provider key', () => {
  test('comes from the operation, never from message, attempt or process (E-9, step 2)', async () => {
    const [psp, name] = [new Psp().will('lost-after', 'lost-after'), operation()]
    const { reconcile: _, ...options } = charging(psp)
    for (let process = 0; process < 3; process += 1) await charge(processOn(db.url), name, options)
    expect(psp.requests.map(({ key }) => key)).toEqual(Array(3).fill(providerKeyOf(name, 'acme', 1)))
    expect(providerKeyOf(name, 'acme', 1)).not.toBe(providerKeyOf(`${name}1`, 'acme', 1))
  })

  test('is made new only after a repeated server error and a confirmed absence, where the policy says so (E-4, E-5)', async () => {
    const [psp, name] = [new Psp().will('500-kept'), operation()]
    const process = processOn(db.url)
    const options = { ...charging(psp), provider: stubborn }
    const seen = []
    for (let run = 0; run < 3; run += 1) seen.push((await charge(process, name, options)).status)
    expect(seen).toEqual(['unknown', 'unknown', 'succeeded'])
    const [one, two] = [providerKeyOf(name, 'acme', 1), providerKeyOf(name, 'acme', 2)]
    expect(psp.requests.map(({ key }) => key)).toEqual([one, one, two])
    expect(psp.executed).toHaveLength(1)
  })

  test('stays as it is where the policy is to reconcile, until a person has to look (E-4)', async () => {
    const [psp, name] = [new Psp().will('500-kept'), operation()]
    const process = processOn(db.url)
    for (let run = 0; run < 4; run += 1)
      expect(await charge(process, name, charging(psp))).toMatchObject({ status: 'unknown' })
    expect(new Set(psp.requests.map(({ key }) => key)).size).toBe(1)
    await closeWindow(db.pool, name)
    expect(await charge(process, name, charging(psp))).toMatchObject({ status: 'needs_review' })
  })

  test('is not made new for an unknown: lost answers and one server error are no proof (E-5)', async () => {
    const [psp, name] = [new Psp().will('500-before', 'lost-before', 'lost-before', '409'), operation()]
    const process = processOn(db.url)
    const options = { ...charging(psp), provider: stubborn }
    for (let run = 0; run < 5; run += 1) await charge(process, name, options)
    expect(new Set(psp.requests.map(({ key }) => key)).size).toBe(1)
    expect(psp.executed).toHaveLength(1)
  })

  test('is handed to the provider once per begun call, and each has a line in the record (E-11)', async () => {
    const [psp, name] = [new Psp().will('lost-before', '500-before'), operation()]
    const process = processOn(db.url)
    for (let run = 0; run < 3; run += 1) await charge(process, name, charging(psp))
    const { attempts } = await ledgerOf(db.pool, name)
    const called = attempts.filter(({ event }: { event: string }) => event === 'called')
    expect(called).toHaveLength(psp.requests.length)
  })
})

describe('an operation', () => {
  test('with another request, provider or kind is refused, and the refusal is not retried (step 1, E-9)', async () => {
    const [psp, name] = [new Psp(), operation()]
    const { effects } = processOn(db.url)
    await effects.run(name, { ...charging(psp), request: { cents: 500, currency: 'EUR', lines: [{ a: 1, b: 2 }] } })
    const again = { ...charging(psp), request: { lines: [{ b: 2, a: 1 }], currency: 'EUR', cents: 500 } }
    expect(await effects.run(name, again)).toMatchObject({ status: 'unknown' })
    for (const other of [
      { ...again, request: { ...again.request, cents: 501 } },
      { ...again, provider: { ...acme, name: 'other' } },
    ]) {
      await expect(effects.run(name, other)).rejects.toMatchObject({ code: 'EFFECT_CONFLICT', operation: name })
    }
    await expect(
      effects.run(name, { request: again.request, effect: 'at-most-once', call: psp.capture(500) }),
    ).rejects.toMatchObject({ code: 'EFFECT_CONFLICT' })
    expect(psp.executed).toHaveLength(1)
  })

  test('without a provider’s keys wants a choice, and not both', async () => {
    const { effects } = processOn(db.url)
    const call = async () => 'sent'
    await expect(effects.run(operation(), { request: 1, call } as never)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    })
    const both = { request: 1, call, provider: acme, effect: 'idempotent' }
    await expect(effects.run(operation(), both as never)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })

  test('at most once is never repeated: unknown is for a person (E-7)', async () => {
    const name = operation()
    const { effects } = processOn(db.url)
    let calls = 0
    const mail = {
      request: { to: 7 },
      effect: 'at-most-once' as const,
      call: async () => {
        calls += 1
        throw new Error('socket hang up')
      },
    }
    expect(await effects.run(name, mail)).toMatchObject({ status: 'needs_review' })
    expect(await effects.run(name, mail)).toMatchObject({ status: 'needs_review' })
    expect(calls).toBe(1)
  })

  test('at most once that can be asked for is asked, and reviewed when it is not there (E-7)', async () => {
    const { effects } = processOn(db.url)
    for (const [found, status] of [
      ['sent', 'succeeded'],
      [undefined, 'needs_review'],
    ] as const) {
      const name = operation()
      let calls = 0
      const mail = {
        request: 1,
        effect: 'at-most-once' as const,
        call: async (): Promise<string> => {
          calls += 1
          throw new Error('socket hang up')
        },
        reconcile: async () => found,
      }
      expect(await effects.run(name, mail)).toMatchObject({ status: 'unknown' })
      expect(await effects.run(name, mail)).toMatchObject({ status })
      expect(calls).toBe(1)
    }
  })

  test('that is idempotent by itself is repeated until it answers, whenever that is (E-7)', async () => {
    const name = operation()
    const { effects } = processOn(db.url)
    let calls = 0
    const put = {
      request: 1,
      effect: 'idempotent' as const,
      call: async () => {
        calls += 1
        if (calls < 4) throw new Error('down')
        return calls
      },
    }
    for (let run = 0; run < 3; run += 1) expect(await effects.run(name, put)).toMatchObject({ status: 'unknown' })
    await closeWindow(db.pool, name)
    expect(await effects.run(name, put)).toMatchObject({ status: 'succeeded', response: 4 })
  })

  test('that is too late for a first call has failed as expired, and nothing was called (O-2)', async () => {
    const [psp, name] = [new Psp(), operation()]
    const process = processOn(db.url)
    const late = { ...charging(psp), notAfter: new Date(Date.now() - 1_000) }
    expect(await charge(process, name, late)).toMatchObject({ status: 'failed', reason: 'expired' })
    expect(await charge(process, name, charging(psp))).toMatchObject({
      status: 'failed',
      reason: 'expired',
      replayed: true,
    })
    expect(psp.requests).toEqual([])
    expect(await ledgerOf(db.pool, name)).toMatchObject({ state: 'failed' })
  })

  test('that is too late for a repetition is asked for, and not called again (O-2)', async () => {
    const [psp, name] = [new Psp().will('lost-before'), operation()]
    const process = processOn(db.url)
    await charge(process, name, charging(psp))
    const late = { ...charging(psp), notAfter: new Date(Date.now() - 1_000) }
    expect(await charge(process, name, late)).toMatchObject({ status: 'needs_review' })
    expect(psp.requests).toHaveLength(1)
  })

  test('is named by a text of its own, of 255 bytes at most', async () => {
    const { effects } = processOn(db.url)
    for (const bad of ['', 'x'.repeat(256), 'a\0b', '\ud800']) {
      await expect(effects.run(bad, charging(new Psp()))).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    }
  })
})

describe('the record', () => {
  test('is rolled back with the business rows, and the answer that is known is not asked for again', async () => {
    const [psp, name] = [new Psp(), operation()]
    const process = processOn(db.url)
    const effect = await process.effects.run(name, charging(psp))
    if (effect.status !== 'succeeded') throw new Error(effect.status)
    const failing = process.transaction(async (tx) => {
      await effect.record(tx, () => tx.query('insert into ledger values ($1, 500)', [name]))
      throw new Error('after the record')
    })
    await expect(failing).rejects.toThrow('after the record')
    expect(await entries(db.pool, name)).toBe(0)
    expect(await ledgerOf(db.pool, name)).toMatchObject({ state: 'started', outcome: 'succeeded' })
    await lapse(db.pool, name)
    expect(await charge(processOn(db.url), name, charging(psp))).toMatchObject({ status: 'succeeded', replayed: false })
    expect(psp.requests).toHaveLength(1)
    expect(psp.questions).toHaveLength(0)
    expect(await entries(db.pool, name)).toBe(1)
  })

  test('is taken back with the work that throws, even in a transaction that is committed all the same', async () => {
    const [psp, name] = [new Psp(), operation()]
    const process = processOn(db.url)
    const effect = await process.effects.run(name, charging(psp))
    if (effect.status !== 'succeeded') throw new Error(effect.status)
    await process.transaction(async (tx) => {
      const work = effect.record(tx, async () => {
        await tx.query('insert into ledger values ($1, 500)', [name])
        throw new Error('not today')
      })
      await expect(work).rejects.toThrow('not today')
      await tx.query('select 1')
    })
    expect(await entries(db.pool, name)).toBe(0)
    expect(await ledgerOf(db.pool, name)).toMatchObject({ state: 'started' })
  })

  test('of two that were given the outcome is written by one, with one ledger entry', async () => {
    const [psp, name] = [new Psp(), operation()]
    const [one, other] = [processOn(db.url), processOn(db.url)]
    const first = await one.effects.run(name, charging(psp))
    await lapse(db.pool, name)
    const second = await other.effects.run(name, charging(psp))
    if (first.status !== 'succeeded' || second.status !== 'succeeded') throw new Error('both know')
    const book = (process: typeof one, effect: typeof first) =>
      process.transaction((tx) => effect.record(tx, () => tx.query('insert into ledger values ($1, 500)', [name])))
    const results = await Promise.allSettled([book(one, first), book(other, second)])
    expect(results[1]).toMatchObject({ status: 'fulfilled' })
    expect(await entries(db.pool, name)).toBe(1)
    expect(await book(one, first)).toEqual({ status: 'duplicate' })
  })

  test('of a claim that was taken over is refused (E-6)', async () => {
    const [psp, name] = [new Psp(), operation()]
    const one = processOn(db.url)
    const first = await one.effects.run(name, charging(psp))
    await lapse(db.pool, name)
    await processOn(db.url).effects.run(name, charging(psp))
    if (first.status !== 'succeeded') throw new Error(first.status)
    await expect(one.transaction((tx) => first.record(tx))).rejects.toMatchObject({ code: 'EFFECT_LOST' })
  })

  test('outside of a transaction is refused, and nothing is recorded', async () => {
    const [psp, name] = [new Psp(), operation()]
    const { effects, pool } = processOn(db.url)
    const effect = await effects.run(name, charging(psp))
    if (effect.status !== 'succeeded') throw new Error(effect.status)
    for (const outside of [pool as never, { query: (text: string, values: unknown[]) => pool.query(text, values) }]) {
      await expect(effect.record(outside)).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
    }
    expect(await ledgerOf(db.pool, name)).toMatchObject({ state: 'started' })
  })
})

describe('a process', () => {
  test('that was stopped past its lease starts no call (E-6)', async () => {
    const [psp, name] = [new Psp(), operation()]
    // As a stopped process would be: its claim is committed, and when it goes on its lease is long gone.
    const { rows } = await db.pool.query(
      `select verdict, (effect).token from posthaste.claim_effect($1, 'keyed', 'acme', 'f', $2, 86400000, gen_random_uuid(), 'paused', 30000)`,
      [name, providerKeyOf(name, 'acme', 1)],
    )
    expect(rows[0].verdict).toBe('claimed')
    await lapse(db.pool, name)
    const begun = await db.pool.query(
      `select posthaste.begin_effect_call($1, $2, gen_random_uuid(), 'paused', 30000, 0, null) as begun`,
      [name, rows[0].token],
    )
    expect(begun.rows[0].begun).toBe('lost')
    expect(psp.requests).toEqual([])
  })

  test('that lost its lease while the provider answered leaves its answer as evidence (E-6)', async () => {
    const [psp, name] = [new Psp(), operation()]
    const [calling, go] = [gate(), gate()]
    const slow = processOn(db.url)
    const late = slow.effects.run(name, {
      ...charging(psp),
      call: async (call) => {
        calling.open()
        await go.opened
        return await psp.capture(500)(call)
      },
    })
    await calling.opened
    await lapse(db.pool, name)
    const other = processOn(db.url)
    const lost = { ...charging(psp), call: (): Promise<Answer> => Promise.reject(new Error('socket hang up')) }
    expect(await other.effects.run(name, lost)).toMatchObject({ status: 'unknown' })
    go.open()
    expect(await late).toMatchObject({ status: 'unknown' })
    const { outcome, attempts } = await ledgerOf(db.pool, name)
    expect(outcome).toBe('succeeded')
    expect(attempts.at(-1)).toMatchObject({ event: 'answered', late: true, outcome: 'succeeded', token: '1' })
    expect(await charge(other, name, charging(psp))).toMatchObject({ status: 'succeeded' })
    expect(psp.executed).toHaveLength(1)
  })

  test('whose call does not heed its signal and answers at last leaves that as evidence (E-6)', async () => {
    const [psp, name] = [new Psp(), operation()]
    const go = gate()
    const process = processOn(db.url)
    const deaf = {
      ...charging(psp),
      timeoutMs: 20,
      call: async (call: Parameters<ReturnType<Psp['capture']>>[0]) => {
        await go.opened
        return await psp.capture(500)(call)
      },
    }
    expect(await process.effects.run(name, deaf)).toMatchObject({ status: 'unknown' })
    const answered = process.posthaste.until('effect-answered')
    go.open()
    expect(await answered).toMatchObject({ operation: name, outcome: 'succeeded', durationMs: undefined })
    expect(await charge(process, name, charging(psp))).toMatchObject({ status: 'succeeded' })
    expect(psp.requests).toHaveLength(1)
    expect(psp.questions).toHaveLength(0)
  })

  test('renews its lease for as long as the call takes (E-6)', async () => {
    const [psp, name] = [new Psp(), operation()]
    const process = processOn(db.url)
    const options = {
      ...charging(psp),
      leaseMs: 500,
      call: async (call: Parameters<ReturnType<Psp['capture']>>[0]) => {
        const until = async () => (await ledgerOf(db.pool, name)).lease_until.getTime()
        const first = await until()
        while ((await until()) < first + 500) await new Promise((resolve) => setTimeout(resolve, 20))
        return await psp.capture(500)(call)
      },
    }
    expect(await process.effects.run(name, options)).toMatchObject({ status: 'succeeded' })
    const { token, attempts } = await ledgerOf(db.pool, name)
    expect(token).toBe('1')
    expect(attempts.map(({ event }: { event: string }) => event)).toEqual(['claimed', 'called', 'answered'])
  })

  test('that loses the database after the provider has answered writes the answer down when it can', async () => {
    const [psp, name] = [new Psp(), operation()]
    const { effects, transaction } = processOn(db.url)
    const effect = await effects.run(name, {
      ...charging(psp),
      call: async (call) => {
        const answer = await psp.capture(500)(call)
        await db.pool.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
        )
        return answer
      },
    })
    expect(effect).toMatchObject({ status: 'succeeded' })
    if (effect.status !== 'succeeded') return
    await transaction((tx) => effect.record(tx))
    expect(await ledgerOf(db.pool, name)).toMatchObject({ state: 'succeeded' })
    expect(psp.requests).toHaveLength(1)
  })
})

test('whatever the provider does and whoever dies when, a charge is executed once and booked once (seeded)', async () => {
  const random = seeded(20261122)
  const fates = ['ok', 'decline', 'lost-before', 'lost-after', '500-before', '500-after', '500-kept', '409'] as const
  const pick = <Item>(items: readonly Item[]) => items[Math.floor(random() * items.length)]!
  const processes = [processOn(db.url), processOn(db.url), processOn(db.url)]
  const names = Array.from({ length: 40 }, operation)
  const ends = await Promise.all(
    names.map(async (name) => {
      const psp = new Psp().will(...Array.from({ length: 3 }, () => pick(fates)))
      for (let run = 0; run < 25; run += 1) {
        const [one, other] = [pick(processes), pick(processes)]
        const options = { ...charging(psp), provider: stubborn }
        const [effect] = await Promise.all([
          charge(one, name, options).catch(() => undefined),
          random() < 0.3 ? charge(other, name, options).catch(() => undefined) : undefined,
          random() < 0.3 ? lapse(db.pool, name) : undefined,
        ])
        if (effect?.status === 'succeeded' || effect?.status === 'failed') return { name, psp, effect }
        if (random() < 0.5) await lapse(db.pool, name)
      }
      return { name, psp, effect: undefined }
    }),
  )
  for (const { name, psp, effect } of ends) {
    expect(effect?.status, name).toMatch(/succeeded|failed/)
    const wanted = effect?.status === 'succeeded' ? 1 : 0
    expect(psp.executed.length, name).toBe(wanted)
    expect(await entries(db.pool, name), name).toBe(wanted)
  }
})
