import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { cli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { scratch } from '../support/process.ts'

const topology = defineTopology({ exchanges: { orders: 'topic' }, queues: { billing: {}, mail: {}, spam: {} } })
const ISO = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
const UUID = expect.stringMatching(/^[0-9a-f-]{36}$/)

// Each command is a process of its own.
vi.setConfig({ testTimeout: 120_000 })

let database: TestDatabase
let posthaste: Posthaste<unknown>

beforeAll(async () => {
  database = await createDatabase()
  posthaste = new Posthaste({ database: pgDatabase(database.pool), topology })
  await posthaste.declare()
})
afterAll(() => database.drop())

const on = (args: string, options: Parameters<typeof cli>[1] = {}) =>
  cli(args.split(' '), { ...options, env: { DATABASE_URL: database.url, ...options.env } })

async function json(args: string, options: Parameters<typeof cli>[1] = {}) {
  const { code, stdout, stderr } = await on(`${args} --json`, options)
  expect(stderr).toBe('')
  expect(stdout.trim().split('\n')).toHaveLength(1)
  return { code, ...JSON.parse(stdout) }
}

const route = () => database.pool.query('select * from posthaste.relay_cycle(1000, true)')

async function die(queue: string, count: number): Promise<void> {
  const messages = Array.from({ length: count }, (_, payload) => ({ type: queue, payload }))
  await pgDatabase(database.pool).transaction((tx) => posthaste.publish(tx, messages))
  await route()
  await database.pool.query(
    `select posthaste.dead_letter(lease_id, token, position, 'no such account') from posthaste.receive($1, 1000)`,
    [queue],
  )
}

test('publish, peek, status, audit, dead letters: what goes in comes out', async () => {
  expect(
    await json(`publish --routing-key billing --payload {"cents":5} --key k1 --priority 3 --header a=b=c`),
  ).toEqual({
    code: 0,
    version: 1,
    id: UUID,
    duplicate: false,
  })
  await route()

  expect(await json('peek billing')).toEqual({
    code: 0,
    version: 1,
    queue: 'billing',
    deliveries: [
      {
        messageId: UUID,
        priority: 3,
        attempts: 0,
        crashes: 0,
        errors: [],
        exchange: '',
        routingKey: 'billing',
        type: 'billing',
        messageVersion: 1,
        key: 'k1',
        correlationId: null,
        causationId: null,
        headers: { a: 'b=c' },
        payload: { cents: 5 },
        body: null,
        contentType: null,
        publishedAt: ISO,
        expired: false,
      },
    ],
  })

  const rates = {
    routed: expect.any(Number),
    completed: expect.any(Number),
    retried: expect.any(Number),
    dead: expect.any(Number),
    overMs: expect.any(Number),
  }
  const empty = {
    kind: 'standard',
    depth: 0,
    ready: 0,
    scheduled: 0,
    leased: 0,
    dead: 0,
    paused: null,
    oldestMs: null,
    rates,
    flow: {},
  }
  const status = await json('status')
  expect(status).toEqual({
    code: 0,
    version: 1,
    schema: { name: 'posthaste', migrations: expect.arrayContaining(['0001_outbox']) },
    relay: {
      onDuty: false,
      pid: null,
      application: null,
      standingBy: 0,
      tick: expect.any(Number),
      routedAt: ISO,
      unrouted: 0,
      lagMs: null,
    },
    queues: [
      { ...empty, queue: 'billing', depth: 1, ready: 1, oldestMs: expect.any(Number) },
      { ...empty, queue: 'mail' },
      { ...empty, queue: 'spam' },
    ],
    groups: [],
    effects: { unknown: 0, needsReview: 0, overdue: 0, unrecorded: 0, contradicted: 0, oldestMs: null },
    partitions: expect.arrayContaining([{ name: 'outbox_p1', from: '0', to: '200001', madeAt: ISO, emptiedAt: null }]),
  })
  expect((await json('status mail')).queues).toEqual([{ ...empty, queue: 'mail' }])

  await database.pool.query(
    `select posthaste.dead_letter(lease_id, token, position, 'no such account') from posthaste.receive('billing', 1)`,
  )
  const letter = {
    id: expect.stringMatching(/^\d+$/),
    queue: 'billing',
    reason: 'no such account',
    messageId: UUID,
    type: 'billing',
    exchange: '',
    routingKey: 'billing',
    key: 'k1',
    attempts: 1,
    crashes: 0,
    history: [],
    publishedAt: ISO,
    deadAt: ISO,
  }
  const listed = await json('dead list')
  expect(listed).toEqual({ code: 0, version: 1, deadLetters: [letter], next: null })
  const { id } = listed.deadLetters[0]
  expect(await json(`dead show ${id}`)).toEqual({
    code: 0,
    version: 1,
    deadLetter: {
      ...letter,
      messageVersion: 1,
      priority: 3,
      correlationId: null,
      causationId: null,
      headers: { a: 'b=c' },
      payload: { cents: 5 },
      body: null,
      contentType: null,
    },
  })

  expect(await json(`dead redrive ${id} --by ada`)).toEqual({
    code: 0,
    version: 1,
    redriven: 1,
    missing: [],
    unreadable: [],
    dryRun: false,
    interrupted: false,
  })
  expect(await json(`dead redrive ${id}`)).toMatchObject({ code: 1, redriven: 0, missing: [id] })
  await route()
  expect((await json('peek billing')).deliveries[0].errors[0].message).toContain('redriven by ada')

  const account = await json('audit')
  expect(account).toMatchObject({ code: 0, version: 1, difference: 0 })
  expect(Object.keys(account.queues[0]).sort()).toEqual(
    ['queue', 'routed', 'ready', 'scheduled', 'leased', 'completed', 'dead', 'expired', 'discarded', 'purged']
      .concat(['retried', 'redriven', 'difference'])
      .sort(),
  )
  expect(account.exchanges[0]).toEqual({
    exchange: '',
    published: 1,
    routed: 1,
    unmatched: 0,
    unrouted: 0,
    difference: 0,
  })
})

describe('publish', () => {
  test('takes JSON from standard input, and bytes from a file as they are', async () => {
    using home = scratch()
    const file = join(home.path, 'photo.png')
    writeFileSync(file, Buffer.from([0, 255, 1]))
    await on('publish --routing-key mail --payload-file -', { stdin: '{"from": "stdin ü"}' })
    await on(`publish --routing-key mail --payload-file ${file} --content-type image/png`)
    await route()
    const { deliveries } = await json('peek mail')
    expect(deliveries).toMatchObject([
      { payload: { from: 'stdin ü' }, body: null },
      { payload: null, body: Buffer.from([0, 255, 1]).toString('base64'), contentType: 'image/png' },
    ])
  })

  test('of the same id twice adds nothing the second time', async () => {
    const command = 'publish --type nobody --payload 1 --id 0190a000-0000-7000-8000-000000000001'
    expect([await json(command), await json(command)]).toMatchObject([
      { code: 0, duplicate: false },
      { code: 0, duplicate: true },
    ])
  })

  test('to an exchange that nobody declared fails, and says so', async () => {
    const { code, stderr } = await on('publish --exchange order --type x --payload 1')
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('Cannot find exchange "order"') })
  })
})

describe('dead', () => {
  test('lists page by page, and redrives and purges what its options find', async () => {
    await die('spam', 3)
    const first = await json('dead list --queue spam --limit 2')
    const second = await json(`dead list --queue spam --limit 2 --before ${first.next}`)
    const letters = [...first.deadLetters, ...second.deadLetters]
    expect(new Set(letters.map(({ id }) => id)).size).toBe(3)
    expect(second.next).toBeNull()
    expect((await json('dead list --since 2999-01-01')).deadLetters).toEqual([])
    expect(await json('dead purge --queue spam --type nothing-such --yes')).toMatchObject({ code: 0, purged: 0 })
    const unasked = await on('dead purge --queue spam')
    expect(unasked).toEqual({
      code: 2,
      stdout: '',
      stderr: 'Cannot delete 3 dead letters without being told twice: add --yes\nTry: posthaste dead purge --help\n',
    })
    expect(await on(`dead purge ${letters[0].id}`)).toMatchObject({ code: 2, stdout: '' })
    expect(await json('dead purge --queue spam --yes')).toEqual({
      code: 0,
      version: 1,
      purged: 3,
      missing: [],
      interrupted: false,
    })
    expect(await json('dead purge 999999 --yes')).toMatchObject({ code: 1, purged: 0, missing: ['999999'] })
    expect(await json('dead redrive --all')).toMatchObject({ code: 0, redriven: 0 })
  })

  test('of an unknown queue or id fails with the nearest name', async () => {
    const unknown = await on('dead list --queue biling')
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('did you mean "billing"?') })
    expect(await on('dead show 999999')).toMatchObject({
      code: 1,
      stderr: 'Cannot show dead letter "999999": there is none of this id\n',
    })
  })
})

describe('for people', () => {
  test('every command answers in plain text when it is piped, in colour only when forced', async () => {
    await database.pool.query(`select posthaste.publish('', 'mail', '"\\u001b[31m"')`)
    await die('billing', 1)
    await database.pool.query(`update posthaste.dead_letters set reason = e'\\u001b[31mred\\u009b0m'`)
    const commands = ['status', 'audit', 'peek mail', 'dead', 'topology', 'migrate', 'migrate --check']
    const answers = await Promise.all(commands.map(async (command) => ({ command, ...(await on(command)) })))
    for (const { command, code, stdout, stderr } of answers) {
      expect({ command, code, stderr }).toEqual({ command, code: 0, stderr: '' })
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not come out
      expect(stdout).not.toMatch(/[\u001b\u009b]/)
    }
    expect((await on('audit', { env: { FORCE_COLOR: '1' } })).stdout).toContain('\u001b[')
  })
})

test('audit ends with 1 when a message is unaccounted for', async () => {
  await using broken = await createDatabase()
  await new Posthaste({ database: pgDatabase(broken.pool), topology }).declare()
  const env = { DATABASE_URL: broken.url }
  await on('publish --routing-key mail --payload 1', { env })
  await broken.pool.query('select * from posthaste.relay_cycle(1000, true)')
  await broken.pool.query('delete from posthaste.ready')
  expect(await json('audit', { env })).toMatchObject({ code: 1, difference: 1 })
  const { stdout } = await on('audit', { env })
  expect(stdout).toContain('The difference is 1')
})
