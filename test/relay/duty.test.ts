import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'
import { expect } from 'vitest'
import { createDatabase, lonelyServer, noLonelyServer } from '../support/database.ts'
import { onTestFinished, test } from '../support/side-by-side.ts'
import { until } from '../support/until.ts'
import { declareQueue, processOn, publish, readyIds, silentPublisher, sleepLock } from './bench.ts'

const NEVER_MS = 60_000
const CHILD = fileURLToPath(new URL('child.ts', import.meta.url))

test.skipIf(noLonelyServer)(
  'a database that is down is waited for, with a line a second, not a flood',
  { timeout: 60_000 },
  async () => {
    await using lonely = await lonelyServer()
    await declareQueue(lonely.pool)
    const one = processOn(lonely.url)
    await one.start()
    await one.events.until('relay-on-duty')
    await lonely.server.crash()
    const before = one.story.length
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    const told = one.story.slice(before).filter(({ name }) => name !== 'upkeep')
    expect(told.length).toBeLessThan(20)
    expect(one.times('error')).toBeGreaterThan(0)
    await lonely.server.restart()
    const id = await until(() => publish(lonely.pool).catch(() => undefined))
    await until(async () => (await readyIds(lonely.pool)).has(id))
    await until(() => one.relay.onDuty, { timeoutMs: 20_000 })
  },
)

test('of three relays one is on duty, and two wait', async () => {
  await using db = await createDatabase()
  const relays = [processOn(db.url), processOn(db.url), processOn(db.url)]
  for (const relay of relays) await relay.start()
  await until(() => relays.some(({ relay }) => relay.onDuty))
  await until(async () => (await waiting(db.pool)) === 2)
  expect(relays.filter(({ relay }) => relay.onDuty)).toHaveLength(1)
})

test.for(['asleep', 'asking'])(
  'a relay killed while it is %s is replaced at once, not at the next poll',
  async (state) => {
    await using db = await createDatabase()
    await declareQueue(db.pool)
    const child = childOn(db.url, { pollIntervalMs: NEVER_MS })
    await child.says('relay-on-duty')
    const others = [processOn(db.url, NEVER), processOn(db.url, NEVER)]
    for (const other of others) await other.start()
    await until(async () => (await waiting(db.pool)) === 2)
    if (state === 'asking') await silentPublisher(db.url)
    await until(() => sleepLock(db.pool, state === 'asleep' ? 'held' : 'asked for'))

    child.process.kill('SIGKILL')
    const killedAt = performance.now()
    const id = await publish(db.pool)
    await until(async () => (await readyIds(db.pool)).has(id), { timeoutMs: 20_000 })
    expect(performance.now() - killedAt).toBeLessThan(NEVER_MS / 3)
    await until(() => others.filter(({ relay }) => relay.onDuty).length === 1)
  },
)

test('a stopped relay is helped out for at the next poll, and goes on where it was', async () => {
  await using db = await createDatabase()
  await declareQueue(db.pool)
  const child = childOn(db.url)
  await child.says('relay-on-duty')
  const other = processOn(db.url)
  await other.start()
  await until(async () => (await waiting(db.pool)) === 1)
  await until(() => sleepLock(db.pool, 'held'))

  child.process.kill('SIGSTOP')
  const id = await publish(db.pool)
  await until(async () => (await readyIds(db.pool)).has(id), { timeoutMs: 20_000 })
  await until(() => other.times('routed') === 1, { what: 'the other relay to say so' })
  child.process.kill('SIGCONT')
  await until(async () => {
    await publish(db.pool)
    return child.told.includes('routed')
  })
})

test('a relay that is stopped hands the duty over', async () => {
  await using db = await createDatabase()
  await declareQueue(db.pool)
  const first = processOn(db.url, NEVER)
  await first.start()
  await first.events.until('relay-on-duty')
  const second = processOn(db.url, NEVER)
  await second.start()
  await until(async () => (await waiting(db.pool)) === 1)
  const onDuty = second.events.until('relay-on-duty')
  await first.relay.stop()
  await onDuty
  expect(first.relay.onDuty).toBe(false)
  expect(first.times('relay-stood-by')).toBe(1)
  const routed = second.events.until('routed')
  await publish(db.pool)
  await routed
})

test('start and stop in any order, also while it connects, leave no connection behind', async () => {
  await using db = await createDatabase()
  await declareQueue(db.pool)
  const { relay, listener, events } = processOn(db.url, NEVER)
  listener.start()
  await Promise.all([relay.start(), relay.start()])
  await Promise.all([relay.stop(), relay.stop()])
  await relay.stop()
  for (let i = 0; i < 5; i++) {
    await relay.start()
    await new Promise((resolve) => setTimeout(resolve, i * 5))
    await relay.stop()
  }
  await until(async () => (await sessions(db.pool, 'posthaste relay')) === 0)
  const routed = events.until('routed')
  await relay.start()
  await publish(db.pool)
  await routed
  await relay.stop()
  await listener.stop()
  await until(async () => (await sessions(db.pool, 'posthaste')) === 0)
})

test('a relay that asks for the sleep lock in vain stops at once', async () => {
  await using db = await createDatabase()
  const { relay, start, events } = processOn(db.url, NEVER)
  await start()
  await events.until('relay-on-duty')
  await silentPublisher(db.url)
  await until(() => sleepLock(db.pool, 'asked for'))
  const startedAt = performance.now()
  await relay.stop()
  expect(performance.now() - startedAt).toBeLessThan(10_000)
  await until(async () => (await sessions(db.pool, 'posthaste relay')) === 0)
})

test('a relay whose every connection is terminated, again and again, loses nothing and goes on', {
  timeout: 60_000,
}, async () => {
  await using db = await createDatabase()
  await declareQueue(db.pool)
  const relays = [processOn(db.url), processOn(db.url)]
  for (const relay of relays) await relay.start()
  await until(() => relays.some(({ relay }) => relay.onDuty))
  const ids: string[] = []
  for (let i = 0; i < 15; i++) {
    ids.push(await publish(db.pool))
    await db.pool.query(TERMINATE_OTHERS)
    ids.push(await publish(db.pool))
  }
  await until(async () => {
    const ready = await readyIds(db.pool)
    return ids.every((id) => ready.has(id))
  })
  await until(() => relays.some(({ relay, listener }) => relay.onDuty && listener.healthy))
  const routed = Promise.any(relays.map(({ events }) => events.until('routed')))
  await publish(db.pool)
  await routed
})

const NEVER = { relay: { pollIntervalMs: NEVER_MS } }

const TERMINATE_OTHERS = `
  select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`

function childOn(url: string, options: object = {}) {
  const process = spawn(globalThis.process.execPath, [CHILD, url, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void process.kill('SIGKILL'))
  const told: string[] = []
  createInterface({ input: process.stdout! }).on('line', (line) => told.push(line))
  const says = (name: string) => until(() => told.includes(name), { what: `the child says ${name}` })
  return { process: process as ChildProcess, told, says }
}

/** How many relays wait for the duty. */
async function waiting(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query(
    `select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted
       and objid = (posthaste.lock_object('duty')::bigint & 4294967295)::oid
       and database = (select oid from pg_database where datname = current_database())`,
  )
  return rows[0].n
}

async function sessions(pool: pg.Pool, name: string): Promise<number> {
  const { rows } = await pool.query(
    `select count(*)::int as n from pg_stat_activity where datname = current_database() and application_name like $1 || '%'`,
    [name],
  )
  return rows[0].n
}
