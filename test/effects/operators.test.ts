import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { listEffects } from '../../src/postgres/effects.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import { EFFECT_WANTS } from '../../src/rules/effect.ts'
import { plansOf, scansOf } from '../postgres/plans.ts'
import { cli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { ROOT, scratch } from '../support/process.ts'
import { acme, charge, charging, closeWindow, entries, LEDGER, lapse, processOn } from './bench.ts'
import { Psp } from './psp.ts'

// Each command is a process of its own.
vi.setConfig({ testTimeout: 120_000 })

let db: TestDatabase
const works: (() => Promise<void>)[] = []

/** One operation for every reason to want somebody, and two that want nobody. */
beforeAll(async () => {
  db = await createDatabase()
  await db.pool.query(LEDGER)
  const [process, psp] = [processOn(db.url, { finished: (work) => void works.push(work) }), new Psp()]
  await process.effects.run('capture:unknown', charging(psp.will('lost-after')))
  await process.effects.run('capture:review', charging(psp.will('lost-before')))
  await closeWindow(db.pool, 'capture:review')
  await process.effects.run('capture:review', charging(psp))
  await db.pool.query(
    `select posthaste.claim_effect('capture:overdue', 'keyed', 'acme', 'f', gen_random_uuid(), 86400000, gen_random_uuid(), 'gone', 30000)`,
  )
  await lapse(db.pool, 'capture:overdue')
  await process.effects.run('capture:unrecorded', charging(psp))
  await lapse(db.pool, 'capture:unrecorded')
  await charge(process, 'capture:contradicted', charging(psp))
  await process.transaction((tx) =>
    process.effects.record(tx, 'capture:contradicted', { as: 'failed', by: 'webhook evt_1' }),
  )
  await charge(process, 'capture:done', charging(psp))
  await process.effects.run('refund:busy', {
    ...charging(psp),
    provider: { ...acme, name: 'other' },
    leaseMs: 3_600_000,
  })
})
afterAll(async () => {
  for (const work of works) await work()
  await db.drop()
})

const ANY = {
  states: undefined,
  provider: undefined,
  olderThanMs: undefined,
  startingWith: undefined,
  after: undefined,
}

const on = (args: readonly string[], options: Parameters<typeof cli>[1] = {}) =>
  cli(['effects', ...args], { ...options, env: { DATABASE_URL: db.url, ...options.env } })

async function json(args: readonly string[], options: Parameters<typeof cli>[1] = {}) {
  const { code, stdout, stderr } = await on([...args, '--json'], options)
  expect(stderr).toBe('')
  return { code, ...JSON.parse(stdout) }
}

interface Listed {
  readonly operation: string
  readonly wants: string | null
}

const wanting = ({ effects }: { effects: Listed[] }) =>
  Object.fromEntries(effects.map(({ operation, wants }) => [operation, wants]))

const WANTING = {
  'capture:unknown': 'unknown',
  'capture:review': 'needs_review',
  'capture:overdue': 'overdue',
  'capture:unrecorded': 'unrecorded',
  'capture:contradicted': 'contradicted',
}

describe('posthaste effects list', () => {
  test('names what wants somebody, and why; nothing that is done or under way (O-5)', async () => {
    const listed = await json(['list'])
    expect(listed).toMatchObject({ code: 0, version: 1, next: null })
    expect(wanting(listed)).toEqual(WANTING)
    const { stdout } = await on([])
    for (const name of Object.keys(WANTING)) expect(stdout).toContain(name)
  })

  test('finds the unknown, the reviewed, and what was begun too long ago', async () => {
    expect(wanting(await json(['list', '--wants', 'unknown', 'overdue']))).toEqual({
      'capture:unknown': 'unknown',
      'capture:overdue': 'overdue',
    })
    expect(wanting(await json(['list', '--wants', 'needs_review', '--provider', 'acme']))).toEqual({
      'capture:review': 'needs_review',
    })
    expect(wanting(await json(['list', '--older-than', '1d']))).toEqual({})
    expect(wanting(await json(['list', '--state', 'all', '--starting-with', 'refund:']))).toEqual({
      'refund:busy': null,
    })
  })

  test('goes on, page by page, through every operation', async () => {
    const seen: string[] = []
    for (let next: string | null | undefined; next !== null; ) {
      const page = await json(['list', '--state', 'all', '--limit', '3', ...(next ? ['--after', next] : [])])
      seen.push(...page.effects.map(({ operation }: Listed) => operation))
      next = page.next
    }
    expect(seen.toSorted()).toEqual([...Object.keys(WANTING), 'capture:done', 'refund:busy'].toSorted())
  })

  test('refuses a word it does not know, and says which there are', async () => {
    expect(await on(['list', '--wants', 'reviewed'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Allowed choices are unknown, needs_review, overdue, unrecorded, contradicted'),
    })
  })
})

test('posthaste status tells what wants somebody, and for how long', async () => {
  const { posthaste } = processOn(db.url)
  const counts = { unknown: 1, needsReview: 1, overdue: 1, unrecorded: 1, contradicted: 1 }
  expect((await posthaste.status()).effects).toEqual({ ...counts, oldestMs: expect.any(Number) })
  const { stdout } = await cli(['status'], { env: { DATABASE_URL: db.url } })
  expect(stdout).toMatch(/effects\n1 in review, 1 unknown, .*: posthaste effects list\n/)
})

test('what wants somebody is counted and listed without reading what is done', async () => {
  await using many = await createDatabase()
  await many.pool.query(
    `insert into posthaste.effects (operation, state, kind, fingerprint, claim, holder, provider_key, outcome, ended_at)
     select 'capture:' || n, 'succeeded', 'keyed', 'f', gen_random_uuid(), 'w', gen_random_uuid(), 'succeeded', now()
     from generate_series(1, 5000) n`,
  )
  await many.pool.query('analyze posthaste.effects')
  const client = new pg.Client({ connectionString: many.url })
  await client.connect()
  try {
    const list = listEffects(tablesOf('posthaste'), { ...ANY, wants: EFFECT_WANTS }, 100)
    const plans = await plansOf(client, async () => {
      await client.query('select * from posthaste.effect_attention()')
      await client.query(list.text, [...list.values])
    })
    const scans = scansOf(plans).filter((scan) => scan.includes('effects'))
    expect(scans.length).toBeGreaterThanOrEqual(2)
    for (const scan of scans) expect(scan).toContain('effects_open')
  } finally {
    await client.end()
  }
})

describe('posthaste effects show', () => {
  test('shows every attempt, with what came of it (O-4)', async () => {
    const { effect } = await json(['show', 'capture:contradicted'])
    expect(effect).toMatchObject({ state: 'succeeded', wants: 'contradicted', provider: 'acme', calls: 1 })
    expect(effect.attempts.map(({ event, outcome }: never) => [event, outcome])).toEqual([
      ['claimed', null],
      ['called', null],
      ['answered', 'succeeded'],
      ['recorded', 'succeeded'],
      ['contradicted', 'failed'],
    ])
    const { stdout } = await on(['show', 'capture:contradicted'])
    expect(stdout).toContain('webhook evt_1')
  })

  test('says that there is none of a name', async () => {
    expect(await on(['show', 'capture:none'])).toEqual({
      code: 1,
      stdout: '',
      stderr: 'Cannot show operation "capture:none": there is none of this name\n',
    })
  })

  test('opens what was sealed where the configuration says how, and shows the rest without it (O-6)', async () => {
    using home = scratch()
    const bodies = { seal: reversed, unseal: reversed }
    await charge(processOn(db.url, { bodies }), 'capture:sealed', charging(new Psp()))
    writeFileSync(
      join(home.path, 'posthaste.config.ts'),
      `import { defineConfig } from '${ROOT}src/index.ts'
       const turned = (text: string) => text.split('').reverse().join('')
       export default defineConfig({ effects: { seal: turned, unseal: turned } })`,
    )
    expect((await json(['show', 'capture:sealed'])).effect).toMatchObject({ state: 'succeeded', response: '[sealed]' })
    const opened = await json(['show', 'capture:sealed'], { cwd: home.path })
    expect(opened.effect.response).toMatchObject({ cents: 500 })
  })
})

describe('posthaste effects resolve', () => {
  test('writes down who and why, in the record and the journal; the next run records it with the business rows (E-12)', async () => {
    const words = ['--as', 'succeeded', '--reason', 'report of May 3', '--response', '{"id":"ch_9"}', '--by', 'ada']
    expect(await json(['resolve', 'capture:review', ...words])).toEqual({
      code: 0,
      version: 1,
      operation: 'capture:review',
      resolvedAs: 'succeeded',
      by: 'ada',
    })
    expect(await entries(db.pool, 'capture:review')).toBe(0)
    const [process, psp] = [processOn(db.url), new Psp()]
    const run = await charge(process, 'capture:review', charging(psp))
    expect(run).toMatchObject({ status: 'succeeded', response: { id: 'ch_9' } })
    expect(psp.requests).toEqual([])
    expect(await entries(db.pool, 'capture:review')).toBe(1)
    expect((await process.posthaste.journal())[0]).toMatchObject({
      by: 'ada',
      act: 'resolve',
      facts: { operation: 'capture:review', as: 'succeeded', reason: expect.stringContaining('report of May 3') },
    })
  })

  test('asks before it lets a call be repeated with a new key, and refuses where nobody can be asked', async () => {
    const words = ['resolve', 'capture:unknown', '--as', 'retry', '--reason', 'the provider has nothing', '--by', 'ada']
    expect(await on(words)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Cannot repeat 1 operation without being told twice: add --yes'),
    })
    const before = await db.pool.query(`select key_number from posthaste.effects where operation = 'capture:unknown'`)
    expect(before.rows).toEqual([{ key_number: 1 }])
    expect((await on([...words, '--yes'])).code).toBe(0)
    const after = await db.pool.query(`select key_number from posthaste.effects where operation = 'capture:unknown'`)
    expect(after.rows).toEqual([{ key_number: 2 }])
  })

  test.each([
    ['capture:done', 'it is recorded; what it came to stays'],
    ['capture:none', 'there is none of this name'],
    ['refund:busy', 'a process is at it now'],
  ])('of %s is refused, and says why', async (name, reason) => {
    const refused = await on(['resolve', name, '--as', 'failed', '--reason', 'a guess', '--by', 'ada'])
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`Cannot resolve operation "${name}": ${reason}`),
    })
  })

  test.each([
    [['--as', 'maybe', '--reason', 'x'], 'Allowed choices are succeeded, failed, retry'],
    [['--as', 'failed'], 'Cannot resolve it without --reason'],
    [['--reason', 'x'], 'Cannot resolve it without --as'],
    [['--as', 'failed', '--reason', 'x', '--response', '{'], 'Cannot take --response: it is not JSON'],
    [['--as', 'retry', '--reason', 'x', '--response', '1'], 'Cannot take --response with --as retry'],
  ])('with %j is a usage error', async (words, reason) => {
    const { code, stderr } = await on(['resolve', 'capture:overdue', ...words])
    expect({ code, stderr: stderr.toLowerCase() }).toEqual({
      code: 2,
      stderr: expect.stringContaining(reason.toLowerCase()),
    })
  })
})

function reversed(text: string): string {
  return text.split('').reverse().join('')
}
