import { randomInt } from 'node:crypto'
import type pg from 'pg'
import { expect } from 'vitest'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { seeded } from '../support/random.ts'
import { test } from '../support/side-by-side.ts'
import { until } from '../support/until.ts'
import { declareQueue, pause, processOn, publish, readyIds, silentPublisher, sleepLock } from './bench.ts'

const NEVER_MS = 60_000
const SEED = Number(process.env.POSTHASTE_SEED ?? randomInt(2 ** 31))

interface Said {
  readonly id: string
  readonly openMs: number
  readonly committedAt: number
}

test.for([1, 3])(
  'with %i relays a lone message never waits for the poll, at whatever moment it comes',
  { timeout: 60_000 },
  async (relays) => {
    console.info(`seed ${SEED}`)
    const random = seeded(SEED)
    await using db = await createDatabase()
    const bench = await relaying(db, relays)
    const waits: number[] = []
    for (let round = 0; round < 150; round++) {
      // Within the milliseconds in which the relay gets drowsy, asks, and falls asleep; now and then long after.
      await pause(round % 10 === 0 ? 100 : random() * 15)
      const committed = await Promise.all(
        Array.from({ length: random() < 0.3 ? 2 : 1 }, () => oneMessage(db.pool, random() ** 2 * 25)),
      )
      const startedAt = performance.now()
      await bench.routed(committed.length, round)
      waits.push(performance.now() - startedAt)
    }
    tell(waits)
    expect(Math.max(...waits)).toBeLessThan(NEVER_MS / 10)
  },
)

test('a silent message is routed the moment the last silent publisher ends', async () => {
  await using db = await createDatabase()
  const bench = await relaying(db)
  const silent = await silentPublisher(db.url)
  await until(() => sleepLock(db.pool, 'asked for'))
  bench.forget()
  // Past the looks at 0.64 and 1.28 s after the request: the next is at 2.56 s.
  await pause(1_500)
  await silent.query('commit')
  const startedAt = performance.now()
  await bench.routed(1)
  expect(performance.now() - startedAt).toBeLessThan(900)
})

test('a silent message is not held up by another publisher that stays open', async () => {
  await using db = await createDatabase()
  const bench = await relaying(db)
  const open = await silentPublisher(db.url)
  const short = await silentPublisher(db.url)
  await until(() => sleepLock(db.pool, 'asked for'))
  bench.forget()
  await short.query('commit')
  await bench.routed(1)
  await open.query('commit')
  await bench.routed(1)
})

test('a publisher that stays open makes others knock, and they are heard at once', async () => {
  await using db = await createDatabase()
  const bench = await relaying(db)
  await silentPublisher(db.url)
  await until(() => sleepLock(db.pool, 'asked for'))
  bench.forget()
  const waits: number[] = []
  for (let round = 0; round < 30; round++) {
    const startedAt = performance.now()
    await Promise.all([publish(db.pool), publish(db.pool), publish(db.pool)])
    await bench.routed(3, round)
    waits.push(performance.now() - startedAt)
    await pause(round)
  }
  tell(waits)
  expect(Math.max(...waits)).toBeLessThan(NEVER_MS / 10)
})

test('a look that another relay had the turn for is repeated', async () => {
  await using db = await createDatabase()
  const bench = await relaying(db)
  await until(() => sleepLock(db.pool, 'held'))
  bench.forget()
  const turn = await db.pool.connect()
  await turn.query('begin')
  await turn.query(`select from posthaste.turns where name = 'router' for update`)
  await publish(db.pool)
  await pause(150)
  await turn.query('commit')
  turn.release()
  await bench.routed(1)
})

test('after a burst publishers are silent again: the lock is given back while there is work', async () => {
  await using db = await createDatabase()
  const bench = await relaying(db)
  await until(() => sleepLock(db.pool, 'held'))
  let silent = false
  await until(async () => {
    await Promise.all(Array.from({ length: 20 }, () => publish(db.pool)))
    silent = !(await sleepLock(db.pool, 'held'))
    return silent
  })
  await until(() => sleepLock(db.pool, 'held'))
  expect(bench.processes[0]!.times('error')).toBe(0)
})

test.for([1, 3])(
  'with %i relays and many publishers no message waits for the poll',
  { timeout: 60_000 },
  async (relays) => {
    console.info(`seed ${SEED}`)
    await using db = await createDatabase()
    await declareQueue(db.pool)
    const processes = Array.from({ length: relays }, () => processOn(db.url, { relay: { pollIntervalMs: NEVER_MS } }))
    for (const process of processes) await process.start()
    await until(() => processes.some(({ relay }) => relay.onDuty))

    const seen = new Map<string, number>()
    const watch = watching(db.pool, seen)
    const said = (
      await Promise.all(
        Array.from({ length: 8 }, (_, i) => publisher(db.pool, seeded(SEED + i), i === 0 ? 2_000 : 150, 4_000)),
      )
    ).flat()
    await until(() => said.every(({ id }) => seen.has(id)), { timeoutMs: 3_000, what: 'every message is ready' })
    await watch()

    const waits = said.map(({ id, openMs, committedAt }) => ({ waitedMs: seen.get(id)! - committedAt, openMs }))
    const slow = waits.filter(({ waitedMs, openMs }) => waitedMs > Math.max(500, openMs > 200 ? openMs : 0))
    tell(waits.map(({ waitedMs }) => waitedMs))
    expect(slow).toEqual([])
  },
)

/** Relays that poll once a minute, and how many messages they have routed since the last time they were asked. */
async function relaying(db: TestDatabase, relays = 1) {
  await declareQueue(db.pool)
  const processes = Array.from({ length: relays }, () => processOn(db.url, { relay: { pollIntervalMs: NEVER_MS } }))
  let sum = 0
  for (const { events } of processes) {
    events.on('routed', ({ messages }) => {
      sum += messages
    })
  }
  for (const process of processes) await process.start()
  await until(() => processes.some(({ relay, listener }) => relay.onDuty && listener.healthy))
  const routed = async (messages: number, round = 0) => {
    await until(() => sum >= messages, { timeoutMs: 2_000, what: `the messages of round ${round} are routed` })
    sum -= messages
  }
  const forget = () => {
    sum = 0
  }
  return { processes, routed, forget }
}

async function oneMessage(pool: pg.Pool, openMs: number): Promise<void> {
  const client = await pool.connect()
  await client.query('begin')
  await publish(client)
  await pause(openMs)
  await client.query('commit')
  client.release()
}

function tell(waits: readonly number[]): void {
  const sorted = waits.toSorted((a, b) => a - b)
  const [p50, p99, longest] = [0.5, 0.99, 1].map((share) => at(sorted, share))
  console.info(`${sorted.length} messages waited: p50 ${p50} ms, p99 ${p99} ms, longest ${longest} ms`)
}

function at(sorted: readonly number[], share: number): number {
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]! * 10) / 10
}

// Publishes at random moments in transactions that stay open for a random time, a few rolled back, some from a savepoint.
async function publisher(pool: pg.Pool, random: () => number, longestMs: number, forMs: number): Promise<Said[]> {
  const said: Said[] = []
  const client = await pool.connect()
  const end = performance.now() + forMs
  while (performance.now() < end) {
    await pause(random() ** 4 * 300)
    const startedAt = performance.now()
    await client.query('begin')
    const ids = [await publish(client)]
    await pause(random() ** 3 * longestMs)
    await client.query('savepoint s')
    const inSavepoint = await publish(client)
    if (random() < 0.5) await client.query('rollback to s')
    else ids.push(inSavepoint)
    const commits = random() > 0.05
    await client.query(commits ? 'commit' : 'rollback')
    const committedAt = performance.now()
    if (commits) said.push(...ids.map((id) => ({ id, openMs: committedAt - startedAt, committedAt })))
  }
  client.release()
  return said
}

function watching(pool: pg.Pool, seen: Map<string, number>): () => Promise<void> {
  let watching = true
  const done = (async () => {
    while (watching) {
      for (const id of await readyIds(pool)) if (!seen.has(id)) seen.set(id, performance.now())
      await pause(4)
    }
  })()
  return async () => {
    watching = false
    await done
  }
}
