import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { defineMessage, defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { cli, spawnCli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { ROOT, scratch } from '../support/process.ts'
import { everyCommand, shapeOf } from '../support/program.ts'
import { deviations, parseShape } from '../support/shape.ts'

// Each command is a process of its own.
vi.setConfig({ testTimeout: 120_000 })

const Known = defineMessage('known', z.object({ n: z.int() }))
const topology = defineTopology({
  exchanges: { orders: 'topic' },
  queues: { billing: {}, mail: {}, old: {}, ledger: { kind: 'stream', from: [{ exchange: 'orders' }] } },
  contracts: [Known],
})
const COMMANDS = await everyCommand()
const home = scratch()

let database: TestDatabase

/**
 * How each command is called for its JSON to be compared with what its help says: a new command is added here. One of these
 * databases has two messages in "mail", two dead letters of "billing", with the ids 1 and 2, and two unknown operations.
 */
const CALLS: Readonly<Record<string, string>> = {
  init: `init ${join(home.path, 'shop')}`,
  migrate: 'migrate',
  'topology show': 'topology show',
  'topology declare': 'topology declare',
  'topology diff': 'topology diff',
  contracts: 'contracts',
  status: 'status',
  publish: 'publish --routing-key mail --payload 1',
  peek: 'peek mail',
  'queue pause': 'queue pause billing',
  'queue resume': 'queue resume billing',
  'queue purge': 'queue purge old --yes',
  'queue delete': 'queue delete old --yes',
  'queue cancel': 'queue cancel mail 0190a000-0000-7000-8000-000000000001',
  'stream groups': 'stream groups ledger',
  'stream blocked': 'stream blocked ledger',
  'stream pause': 'stream pause ledger',
  'stream resume': 'stream resume ledger',
  'stream retry': 'stream retry ledger --key o1',
  'stream release': 'stream release ledger',
  'stream skip': 'stream skip ledger --key o1 --yes',
  'stream replay': 'stream replay ledger --from earliest --dry-run',
  'stream seek': 'stream seek ledger --to earliest --dry-run',
  'stream delete': 'stream delete ledger gone --yes',
  verify: `verify ${join(home.path, 'handled.ndjson')} --stream ledger`,
  'dead list': 'dead list',
  'dead show': 'dead show 1',
  'dead redrive': 'dead redrive 2',
  'dead purge': 'dead purge --type none --yes',
  'effects list': 'effects list --state all',
  'effects show': 'effects show capture:pay_1',
  'effects resolve': 'effects resolve capture:pay_2 --as succeeded --reason seen --by ada',
  'schedules list': 'schedules list',
  'schedules remove': 'schedules remove nightly --yes',
  erase: 'erase 0190a000-0000-7000-8000-00000000000a --yes',
  journal: 'journal',
  trace: 'trace 0190a000-0000-7000-8000-00000000000a --depth 1',
  audit: 'audit',
  config: 'config',
  completion: 'completion bash',
}

/** Those that are not a question and an answer, with where they are compared instead. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  relay: 'below',
  tail: 'below',
  demo: 'test/demo/demo.test.ts',
}

beforeAll(async () => {
  database = await createDatabase()
  const posthaste = new Posthaste({ database: pgDatabase(database.pool), topology })
  await posthaste.declare()
  await posthaste.schedule('nightly', '0 3 * * *', { type: 'mail', payload: {} })
  const messages = ['billing', 'billing', 'mail', 'mail'].map((type) => ({ type, payload: { n: 1 } }))
  for (const name of ['capture:pay_1', 'capture:pay_2']) {
    const call = () => Promise.reject(new Error('socket hang up'))
    await posthaste.effects.run(name, { request: 1, provider: { keyWindowMs: 86_400_000 }, call })
  }
  const traced = { type: 'nobody', payload: {}, id: '0190a000-0000-7000-8000-00000000000a' }
  await pgDatabase(database.pool).transaction((tx) => posthaste.publish(tx, [...messages, traced]))
  await database.pool.query('select * from posthaste.relay_cycle(1000, true)')
  await database.pool.query(
    `select posthaste.dead_letter(lease_id, token, position, 'no such account') from posthaste.receive('billing', 10)`,
  )
  await database.pool.query(`
    select posthaste.make_group((select id from posthaste.queues where name = 'ledger'), 'gone', 0, 0, 9223372036854775807, null);
    with made as (select grp from posthaste.make_group((select id from posthaste.queues where name = 'ledger'), 'ledger', 0, 0, 9223372036854775807, null)),
    head as (insert into posthaste.parked (grp, key, message, message_id) select grp, 'o1', 1, gen_random_uuid() from made)
    insert into posthaste.parked_keys (grp, key, lane, scope, attempts, history, due_at)
    select grp, 'o1', 0, 'key', 1, '[{"attempt":1,"at":"2026-01-01T00:00:00Z","name":"Error","message":"no"}]', clock_timestamp() + interval '1 hour' from made`)
  writeFileSync(
    join(home.path, 'handled.ndjson'),
    '{"group":"ledger","key":null,"messageId":"0190a000-0000-7000-8000-00000000000b"}\n',
  )
  writeFileSync(
    join(home.path, 'posthaste.config.ts'),
    `import { defineConfig, defineTopology } from '${ROOT}src/index.ts'
     export default defineConfig({ service: 'shop', topology: defineTopology({ queues: { spam: {} } }) })`,
  )
})
afterAll(async () => {
  await database.drop()
  home[Symbol.dispose]()
})

// What nobody has routed may still be on its way into the queue: a cancellation waits for it.
beforeEach(async () => void (await database.pool.query('select * from posthaste.relay_cycle(1000, true)')))

test('there is no command whose JSON is not compared', () => {
  const paths = COMMANDS.map(({ path }) => path)
  expect([...Object.keys(CALLS), ...Object.keys(ELSEWHERE)].sort()).toEqual(paths.sort())
})

test.each(COMMANDS.filter(({ path }) => CALLS[path]))('posthaste $path --json has its shape', async (leaf) => {
  const args = [...CALLS[leaf.path]!.split(' '), '--json']
  const { stdout, stderr } = await cli(args, { env: { DATABASE_URL: database.url }, cwd: home.path })
  expect(stderr).toBe('')
  const answer = JSON.parse(stdout)
  expect(answer.version).toBe(1)
  expect(deviations(shapeOf(leaf), answer)).toEqual([])
})

test('every line of posthaste relay --json has its shape', async () => {
  const relay = COMMANDS.find(({ path }) => path === 'relay')!
  const child = spawnCli(['relay', '--json', '--url', database.url])
  const ended = once(child, 'close')
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stdout! })) {
    lines.push(line)
    if (line.includes('relay-on-duty')) child.kill('SIGTERM')
  }
  await ended
  expect(lines.length).toBeGreaterThan(2)
  expect(lines.flatMap((line) => deviations(shapeOf(relay), JSON.parse(line)))).toEqual([])
})

test('every line of posthaste tail --json has its shape', async () => {
  const tail = COMMANDS.find(({ path }) => path === 'tail')!
  const args = ['tail', '--from', 'earliest', '--no-follow', '--json', '--url', database.url]
  const lines = (await cli(args)).stdout.trim().split('\n')
  expect(lines.length).toBeGreaterThan(2)
  expect(lines.flatMap((line) => deviations(shapeOf(tail), JSON.parse(line)))).toEqual([])
})

test('a shape that is left is told of, path by path', () => {
  const shape = parseShape(
    '{"version":1,"queues":[{"name","retry":{"maxAttempts"},"errors":[…]}],"next"?,"rest":{…}} and words',
  )
  const right = { version: 1, queues: [{ name: 'a', retry: { maxAttempts: 1 }, errors: [1] }], rest: { any: 1 } }
  expect(deviations(shape, right)).toEqual([])
  expect(deviations(shape, { ...right, queues: [{ name: 'a', retry: { max: 1 }, errors: [] }], more: 1 })).toEqual([
    '$.more is not told of',
    '$.queues[0].retry.maxAttempts is missing',
    '$.queues[0].retry.max is not told of',
  ])
})
