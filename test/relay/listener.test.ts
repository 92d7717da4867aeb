import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { pgDatabase } from '../../src/databases/pg.ts'
import { createDatabase } from '../support/database.ts'
import { proxyBefore } from '../support/proxy.ts'
import { until } from '../support/until.ts'
import { declareQueue, processOn, publish } from './bench.ts'

function counter() {
  const count = {
    calls: 0,
    call: () => {
      count.calls += 1
    },
  }
  return count
}

const notify = (pool: pg.Pool, channel: string) => pool.query(`select pg_notify($1, '')`, [channel])

test('a subscriber is called for what is said on its channel and no other, until it unsubscribes', async () => {
  await using db = await createDatabase()
  const { listener, events } = processOn(db.url)
  const [ours, theirs, odd] = [counter(), counter(), counter()]
  listener.subscribe('ours', ours.call)
  const off = listener.subscribe('theirs', theirs.call)
  listener.start()
  await events.until('listening')
  listener.subscribe('a "quoted" channel', odd.call)
  await until(() => ours.calls === 1 && theirs.calls === 1 && odd.calls === 1, {
    what: 'each is called once at the start',
  })

  await notify(db.pool, 'ours')
  await notify(db.pool, 'a "quoted" channel')
  await until(() => ours.calls === 2 && odd.calls === 2)
  expect(theirs.calls).toBe(1)
  off()
  off()
  await notify(db.pool, 'theirs')
  await notify(db.pool, 'ours')
  await until(() => ours.calls === 3)
  expect(theirs.calls).toBe(1)
})

test('after its connection was terminated it listens again, and subscribers are called once for what they may have missed', async () => {
  await using db = await createDatabase()
  const { listener, events, times } = processOn(db.url)
  const heard = counter()
  listener.subscribe('ours', heard.call)
  listener.start()
  await events.until('listening')
  for (let round = 1; round <= 5; round++) {
    const before = heard.calls
    const again = events.until('listening')
    await db.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'posthaste listener%'`,
    )
    await notify(db.pool, 'ours')
    await again
    expect(heard.calls).toBeGreaterThan(before)
    const known = heard.calls
    await notify(db.pool, 'ours')
    await until(() => heard.calls > known)
  }
  expect(times('connection-lost')).toBeGreaterThan(0)
  expect(times('polling')).toBe(5)
  expect(times('listening')).toBe(6)
})

test('a connection whose other end is gone is found out by the probe, and replaced', async () => {
  await using db = await createDatabase()
  await using proxy = await proxyBefore(db.url)
  const { listener, events } = processOn(db.url, {
    listenUrl: proxy.url,
    listener: { probeIntervalMs: 200, probeTimeoutMs: 200 },
  })
  const heard = counter()
  listener.subscribe('ours', heard.call)
  listener.start()
  await events.until('listening')
  const polling = events.until('polling')
  proxy.blackhole()
  expect((await polling).reason).toMatch(/nothing arrives/)
  expect(listener.healthy).toBe(false)
  const listening = events.until('listening', undefined, { timeoutMs: 20_000 })
  proxy.heal()
  await listening
  const known = heard.calls
  await notify(db.pool, 'ours')
  await until(() => heard.calls > known)
}, 40_000)

test('a LISTEN that is accepted and delivers nothing does not pass for listening', async () => {
  await using db = await createDatabase()
  await using elsewhere = await createDatabase()
  // What a transaction-mode pooler looks like from here: the session is one thing, the pool another.
  const deaf = pgDatabase(elsewhere.pool)
  const { listener, story, events } = processOn(db.url, {
    listener: { probeTimeoutMs: 200, retryMs: 100 },
    database: { session: deaf.session!.bind(deaf) },
  })
  listener.start()
  expect((await events.until('polling')).reason).toMatch(/nothing arrives: is there a pooler in between/)
  const { rows } = await until(async () => {
    const found = await elsewhere.pool.query(
      `select from pg_stat_activity where datname = current_database() and application_name like 'posthaste listener%'`,
    )
    return found.rows.length > 0 ? found : undefined
  })
  expect(rows.length, 'one that is given up may be closing while the next opens').toBeLessThanOrEqual(2)
  expect(listener.healthy).toBe(false)
  expect(story.filter(({ name }) => name === 'polling')).toHaveLength(1)
})

test('without sessions, or behind a pooler, relays poll, all of them, and say why', async () => {
  await using db = await createDatabase()
  await declareQueue(db.pool)
  const reasons = [
    { session: undefined },
    { session: async () => ({ unavailable: 'the connection goes through a pooler' }) },
    { session: async () => Promise.reject(new Error('too many connections')) },
  ]
  for (const database of reasons) {
    const one = processOn(db.url, { database })
    const polling = one.events.until('polling')
    await one.start()
    expect((await polling).reason).toMatch(/opens no connections|goes through a pooler|too many connections/)
    const routed = one.events.until('routed', undefined, { timeoutMs: 1_500 })
    await publish(db.pool)
    await routed
    expect(one.relay.onDuty).toBe(false)
    await one.stop()
  }
})

test('what polls goes back to listening when that is possible again', async () => {
  await using db = await createDatabase()
  await declareQueue(db.pool)
  const pool = new pg.Pool({ connectionString: db.url })
  onTestFinished(() => pool.end())
  const real = pgDatabase(pool)
  let pooler = true
  const one = processOn(db.url, {
    listener: { retryMs: 100 },
    database: { session: async (options) => (pooler ? { unavailable: 'a pooler' } : await real.session!(options)) },
  })
  const polling = one.events.until('polling')
  await one.start()
  await polling
  const onDuty = one.events.until('relay-on-duty')
  pooler = false
  await onDuty
  expect(one.listener.healthy).toBe(true)
})

test('it stops at once while it connects to a server that does not answer', async () => {
  const sockets: Socket[] = []
  const silent = createServer((socket) => void sockets.push(socket))
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { listener, relay } = processOn(`postgres://nobody@127.0.0.1:${(silent.address() as AddressInfo).port}/none`)
  listener.start()
  await relay.start()
  await new Promise((resolve) => setTimeout(resolve, 50))
  const startedAt = performance.now()
  await listener.stop()
  expect(performance.now() - startedAt).toBeLessThan(5_000)
  await relay.stop({ timeoutMs: 100 })
  expect(performance.now() - startedAt).toBeLessThan(10_000)
  silent.close()
  for (const socket of sockets) socket.destroy()
})
