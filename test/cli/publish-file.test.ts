import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { cli, spawnCli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { lives, scratch } from '../support/process.ts'
import { until } from '../support/until.ts'

// Each command is a process of its own.
vi.setConfig({ testTimeout: 120_000 })

const topology = defineTopology({ exchanges: { orders: 'topic' }, queues: { mail: {} } })
const home = scratch()

let database: TestDatabase

beforeAll(async () => {
  database = await createDatabase()
  await new Posthaste({ database: pgDatabase(database.pool), topology }).declare()
})
afterAll(async () => {
  await database.drop()
  home[Symbol.dispose]()
})

const publish = (args: readonly string[], stdin?: string) =>
  cli(['publish', ...args], { env: { DATABASE_URL: database.url }, ...(stdin !== undefined && { stdin }) })

const said = (n: number) => ({ payload: { n } })
const ndjson = (lines: readonly unknown[]) =>
  lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('')

/** The numbers that are in the log under a type, sorted. */
async function published(type: string): Promise<number[]> {
  const { rows } = await database.pool.query(
    `select (payload ->> 'n')::integer as n from posthaste.outbox where type = $1 order by n`,
    [type],
  )
  return rows.map(({ n }) => n)
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

function fileOf(name: string, lines: readonly unknown[]): string {
  const path = join(home.path, `${name}.ndjson`)
  writeFileSync(path, ndjson(lines))
  return path
}

test('each line is a message with all that a message has; what it does not say comes from the options', async () => {
  const whole = {
    type: 'order.placed',
    exchange: 'orders',
    routingKey: 'order.placed.de',
    version: 2,
    key: '7',
    id: '0190a000-0000-7000-8000-0000000000aa',
    headers: { a: 1 },
    priority: 9,
    correlationId: 'c',
    causationId: null,
    payload: { n: 1 },
  }
  const bytes = { type: 'photo', body: 'AAH/', contentType: 'image/png' }
  const file = fileOf('whole', [whole, '', bytes, { payload: { n: 3 }, deliverAt: '2999-01-01T00:00Z' }])
  const { code, stdout, stderr } = await publish(['--file', file, '--type', 'whole.default', '--priority', '4'])
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '3 published\n', stderr: '' })
  const { rows } = await database.pool.query(
    `select type, exchange, routing_key, version, key, message_id, headers, priority, correlation_id, payload, body, deliver_at
     from posthaste.outbox where type in ('order.placed', 'photo', 'whole.default') order by id`,
  )
  expect(rows).toMatchObject([
    {
      type: 'order.placed',
      exchange: 'orders',
      routing_key: 'order.placed.de',
      version: 2,
      key: '7',
      message_id: whole.id,
      headers: { a: 1 },
      priority: 9,
      correlation_id: 'c',
    },
    { type: 'photo', priority: 4, body: Buffer.from([0, 1, 255]) },
    { type: 'whole.default', payload: { n: 3 }, deliver_at: new Date('2999-01-01T00:00Z') },
  ])
})

describe('a bad line', () => {
  test.concurrent.each([
    ['{"payload":', 'it is not JSON'],
    ['[1]', 'it is not a JSON object'],
    ['{"payload":{"n":9007199254740993}}', 'it has a number that JavaScript would round'],
    ['{"payload":{},"prioritty":1}', 'Unknown option "prioritty": did you mean "priority"?'],
    ['{"payload":{},"priority":10}', 'priority'],
    ['{"headers":{}}', 'it has neither payload nor body'],
    ['{"payload":{},"body":"?"}', 'body is not base64'],
    ['{"payload":{},"deliverAt":"soon"}', 'deliverAt is no time'],
    ['{"payload":{},"exchange":"ordres"}', 'Cannot find exchange "ordres"'],
  ])('%s is named with its number and its reason, and what comes before it is published', async (bad, reason) => {
    const type = `bad.${Math.random()}`
    const { code, stdout, stderr } = await publish(
      ['--file', '-', '--type', type],
      ndjson([said(1), said(2), bad, said(4)]),
    )
    expect({ code, stdout }).toEqual({ code: 1, stdout: '2 published\n' })
    expect(stderr).toContain(`Cannot publish line 3: `)
    expect(stderr).toContain(reason)
    expect(stderr).toContain('--from-line 3 goes on')
    expect(await published(type)).toEqual([1, 2])
  })

  test('is passed over with --skip-bad, told of, and no success', async () => {
    const lines = upTo(2_500).map((n) =>
      n % 1_000 === 7 ? { ...said(n), exchange: 'nope' } : n === 1_300 ? '}' : said(n),
    )
    const file = fileOf('skip', lines)
    const { code, stdout } = await publish(['--file', file, '--type', 'skip', '--skip-bad', '--json'])
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      published: 2_496,
      next: null,
      bad: [{ line: 7 }, { line: 1_300 }, { line: 1_007 }, { line: 2_007 }],
    })
    expect(await published('skip')).toHaveLength(2_496)
  })

  test('of standard input is gone on with by --from-line', async () => {
    await publish(['--file', '-', '--type', 'piped'], ndjson([said(1), said(2), '{']))
    await publish(['--file', '-', '--type', 'piped', '--from-line', '3'], ndjson(upTo(4).map(said)))
    expect(await published('piped')).toEqual(upTo(4))
  })

  test('that is corrected lets the same command go on where it ended', async () => {
    const lines: unknown[] = upTo(3_000).map(said)
    const file = fileOf('corrected', lines.with(1_499, '{'))
    expect(await publish(['--file', file, '--type', 'corrected'])).toMatchObject({
      code: 1,
      stdout: '1,499 published\n',
    })
    writeFileSync(file, ndjson(lines))
    expect(await publish(['--file', file, '--type', 'corrected'])).toMatchObject({
      code: 0,
      stdout: '1,501 published\n',
    })
    expect(await published('corrected')).toEqual(upTo(3_000))
    expect(existsSync(`${file}.posthaste`)).toBe(false)
  })
})

describe('interrupted', () => {
  test.each(['SIGINT', 'SIGKILL'] as const)(
    'by %s in the middle, it publishes each line once when it is run again',
    async (signal) => {
      const type = `cut.${signal}`
      const file = fileOf(type, upTo(20_000).map(said))
      const child = spawnCli(['publish', '--file', file, '--type', type], { env: { DATABASE_URL: database.url } })
      const ended = Promise.all([once(child, 'close'), text(child.stderr!)])
      await until(async () => (await published(type)).length > 0, { timeoutMs: 30_000 })
      child.kill(signal)
      const [[code], stderr] = await ended
      expect(lives(child.pid!)).toBe(false)
      const before = await published(type)
      expect(before.length % 1_000).toBe(0)
      expect(before.length).toBeLessThan(20_000)
      if (signal === 'SIGINT') {
        expect({ code, stderr }).toEqual({
          code: 130,
          stderr: `Interrupted: the same command goes on with line ${before.length + 1}\n`,
        })
      }
      const { stdout, code: again } = await publish(['--file', file, '--type', type, '--json'])
      expect(again).toBe(0)
      const { published: more, duplicates } = JSON.parse(stdout)
      expect(more).toBe(20_000 - before.length)
      expect(duplicates).toBeLessThanOrEqual(1_000)
      expect(await published(type)).toEqual(upTo(20_000))
    },
  )

  test('and given another file or another database, it refuses to go on', async () => {
    const file = fileOf(
      'other',
      upTo(1_500)
        .map(said)
        .with(1_200, '{' as never),
    )
    await publish(['--file', file, '--type', 'other'])
    const journal = JSON.parse(readFileSync(`${file}.posthaste`, 'utf8'))
    writeFileSync(file, ndjson(upTo(1_500).map((n) => said(n + 1))))
    expect(await publish(['--file', file, '--type', 'other'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--restart'),
    })
    writeFileSync(`${file}.posthaste`, JSON.stringify({ ...journal, to: 'db.example:5432/shop/posthaste' }))
    expect(await publish(['--file', file, '--type', 'other'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('it was being published to db.example:5432/shop/posthaste'),
    })
    expect(await publish(['--file', file, '--type', 'other', '--restart'])).toMatchObject({
      code: 0,
      stdout: '1,500 published\n',
    })
  })
})

test('a line that says something else under the dedupe key of a line before it is named, and may be skipped', async () => {
  const lines = [
    { ...said(1), dedupeKey: 'a' },
    { ...said(1), dedupeKey: 'a' },
    { ...said(2), dedupeKey: 'b' },
    { ...said(3), dedupeKey: 'b' },
    said(4),
  ]
  const file = fileOf('deduped', lines)
  const first = await publish(['--file', file, '--type', 'deduped'])
  expect(first).toMatchObject({ code: 1, stdout: '2 published, 1 had been published before\n' })
  expect(first.stderr).toContain('Cannot publish line 4: another message was published with its dedupeKey')
  expect(await published('deduped')).toEqual([1, 2])
  const second = await publish(['--file', file, '--type', 'deduped', '--skip-bad'])
  expect(second).toMatchObject({ code: 1, stdout: '1 published\n' })
  expect(await published('deduped')).toEqual([1, 2, 4])
})
