import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { defineTopology, type HandledRecord, Posthaste, pgDatabase } from '../../src/index.ts'
import { cli, spawnCli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { lives, scratch } from '../support/process.ts'
import { until } from '../support/until.ts'

// Each command is a process of its own.
vi.setConfig({ testTimeout: 120_000 })

const ISO = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
const topology = defineTopology({
  exchanges: { orders: 'topic' },
  queues: {
    ledger: {
      kind: 'stream',
      from: [{ exchange: 'orders', routingKey: 'order.#' }],
      retry: { maxAttempts: 9, strategy: 'fixed', minMs: 3_600_000, maxMs: 3_600_000 },
    },
  },
})
const home = scratch()
const records: HandledRecord[] = []
let database: TestDatabase
let posthaste: Posthaste<unknown>
let refused = true

beforeAll(async () => {
  database = await createDatabase()
  posthaste = new Posthaste({ database: pgDatabase(database.pool), topology })
  posthaste.consumer('ledger', { group: 'fraud' }).otherwise(({ id, key, position }) => {
    if (key === 'bad' && refused) throw new Error('no such account')
    records.push({ group: 'fraud', key: key ?? null, messageId: id, position, at: new Date().toISOString() })
  })
  await posthaste.start()
  await publish(['o1', 'o2', 'o1', 'bad', 'bad', 'bad'])
  await until(async () => records.length === 3 && (await status()).parked === 3 && (await status()).lag === 0, {
    timeoutMs: 30_000,
  })
})
afterAll(async () => {
  await posthaste.stop()
  await database.drop()
  home[Symbol.dispose]()
})

const status = () => posthaste.stream('ledger').group('fraud').status()

async function publish(keys: readonly string[], routingKey = 'order.placed') {
  const messages = keys.map((key) => ({
    exchange: 'orders',
    routingKey,
    type: 'order',
    key,
    payload: { city: 'Berlin' },
  }))
  return await pgDatabase(database.pool).transaction((tx) => posthaste.publish(tx, messages))
}

async function json(...args: string[]) {
  const { code, stdout, stderr } = await cli([...args, '--json'], { env: { DATABASE_URL: database.url } })
  return { code, ...JSON.parse(stdout || stderr) }
}

const NAMES = { version: 1, stream: 'ledger', group: 'fraud' }

test('groups are listed with their lag, paused, resumed, and named when they are misspelt', async () => {
  const paused = { until: ISO, reason: 'the model is being replaced', by: 'ada' }
  expect(
    await json('stream', 'pause', 'ledger', 'fraud', '--for', '10m', '--reason', paused.reason, '--by', 'ada'),
  ).toEqual({ code: 0, ...NAMES, paused })
  expect(await json('stream', 'groups', 'ledger')).toMatchObject({
    groups: [{ group: 'fraud', lag: 0, parked: 3, parkedKeys: 1, members: 1, paused }],
  })
  expect(await json('stream', 'resume', 'ledger', 'fraud')).toEqual({ code: 0, ...NAMES, resumed: true })
  expect(await json('stream', 'resume', 'ledger', 'fraud')).toEqual({ code: 0, ...NAMES, resumed: false })
  expect(await json('stream', 'pause', 'ledger', 'froud')).toMatchObject({
    code: 1,
    error: { code: 'UNKNOWN_GROUP', message: expect.stringContaining('did you mean "fraud"?') },
  })
})

test('seek and replay say how much it is, and want to be told twice', async () => {
  expect(await json('stream', 'replay', 'ledger', 'fraud', '--from', 'earliest', '--dry-run')).toEqual({
    code: 0,
    ...NAMES,
    dryRun: true,
    messages: 6,
    processed: 0,
  })
  expect(await json('stream', 'replay', 'ledger', 'fraud', '--from', '1h')).toMatchObject({
    code: 2,
    error: { code: 'USAGE', message: 'Cannot read 6 messages without being told twice: add --yes' },
  })
  expect(await json('stream', 'seek', 'ledger', 'fraud', '--to', 'earliest')).toMatchObject({
    code: 2,
    error: { message: 'Cannot read 6 messages without being told twice: add --yes' },
  })
  expect(await json('stream', 'seek', 'ledger', 'fraud', '--to', 'latest', '--yes', '--by', 'ada')).toMatchObject({
    code: 0,
    messages: 0,
  })
  expect(await json('stream', 'seek', 'ledger', 'fraud', '--to', 'yesterday')).toMatchObject({ code: 2 })
  expect(await json('stream', 'seek', 'ledger', 'fraud')).toMatchObject({ code: 2 })
})

test('what is blocked is listed, skipped, attempted and released, and verify judges what came of it', async () => {
  const blocked = await json('stream', 'blocked', 'ledger', 'fraud')
  expect(blocked.keys).toMatchObject([{ key: 'bad', scope: 'key', waiting: 2, attempts: 1, held: false, dueAt: ISO }])
  const { messageId } = blocked.keys[0]
  const text = await cli(['stream', 'blocked', 'ledger', 'fraud', '--key', 'bad'], {
    env: { DATABASE_URL: database.url },
  })
  expect(text.stdout).toContain('no such account')
  expect(await json('stream', 'skip', 'ledger', 'fraud', '--key', 'bad')).toMatchObject({ code: 2 })
  expect(await json('stream', 'skip', 'ledger', 'fraud', '--key', 'bad', '--yes')).toEqual({
    code: 0,
    ...NAMES,
    key: 'bad',
    skipped: messageId,
  })
  refused = false
  expect(await json('stream', 'release', 'ledger', 'fraud')).toMatchObject({ code: 0, ...NAMES })
  await until(() => records.length === 5, { timeoutMs: 30_000 })
  await until(async () => (await status()).parked === 0, { timeoutMs: 30_000 })
  expect(await json('stream', 'retry', 'ledger', 'fraud', '--key', 'bad')).toMatchObject({ code: 1, retried: false })

  const file = join(home.path, 'handled.ndjson')
  const write = (lines: readonly object[]) =>
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  write(records)
  expect(await json('verify', file, '--from', 'earliest')).toMatchObject({
    code: 0,
    ok: true,
    records: 5,
    groups: [{ stream: 'ledger', group: 'fraud', messages: 6, putAside: 1, faults: [] }],
  })
  const counts = async (lines: readonly object[]) => {
    write(lines)
    const { code, ok, groups } = await json('verify', file, '--from', 'earliest')
    expect({ code, ok }).toEqual({ code: 1, ok: false })
    return groups[0].faults
  }
  const [first, second] = records.filter(({ key }) => key === 'o1')
  expect(await counts(records.toSpliced(1, 1))).toMatchObject([{ fault: 'missing', messageId: records[1]!.messageId }])
  expect(await counts([...records, records[1]!])).toMatchObject([{ fault: 'doubled', line: 6 }])
  const [a, b] = [records.indexOf(first!), records.indexOf(second!)]
  expect(await counts(records.with(a, second!).with(b, first!))).toMatchObject([{ fault: 'out-of-order', key: 'o1' }])
  write(records.slice(1))
  const told = await cli(['verify', file, '--from', 'earliest'], { env: { DATABASE_URL: database.url } })
  expect(told.code).toBe(1)
  expect(told.stdout).toContain(records[0]!.messageId)
  expect(await json('verify', join(home.path, 'nowhere'))).toMatchObject({
    code: 1,
    error: { message: expect.stringContaining('nowhere') },
  })
})

test('tail shows what is published and wanted, live, until it is interrupted', async () => {
  const child = spawnCli([
    'tail',
    '--json',
    '--exchange',
    'orders',
    '--routing-key',
    'order.#',
    '--text',
    'BERLIN',
    '--url',
    database.url,
  ])
  onTestFinished(() => void (lives(child.pid!) && child.kill('SIGKILL')))
  const lines: { messageId: string; key: string; payload: object }[] = []
  let stderr = ''
  createInterface({ input: child.stdout! }).on('line', (line) => lines.push(JSON.parse(line)))
  child.stderr!.on('data', (chunk) => (stderr += chunk))
  const ended = once(child, 'close')
  await until(async () => (await publish(['probe'])) && lines.length > 0, { timeoutMs: 60_000 })
  await publish(['elsewhere'], 'cart.filled')
  const [last] = await publish(['t1'])
  await until(() => lines.at(-1)!.messageId === last!.id, { timeoutMs: 30_000 })
  expect(lines.at(-1)).toMatchObject({ version: 1, key: 't1', exchange: 'orders', payload: { city: 'Berlin' } })
  expect(lines.map(({ key }) => key)).not.toContain('elsewhere')
  child.kill('SIGINT')
  const [code] = await ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })

  const shown = await cli(['tail', 'ledger', '--key', 't1', '--from', '1h', '--no-follow', '--url', database.url])
  expect(shown).toMatchObject({ code: 0, stderr: '' })
  expect(shown.stdout).toContain('key=t1 {"city":"Berlin"}')
  expect(await json('tail', 'leger')).toMatchObject({ code: 1, error: { code: 'UNKNOWN_QUEUE' } })
})
