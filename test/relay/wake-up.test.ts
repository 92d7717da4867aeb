import { randomInt } from 'node:crypto'
import type pg from 'pg'
import { expect, test } from 'vitest'
import { createDatabase } from '../support/database.ts'
import { seeded } from '../support/random.ts'
import { until } from '../support/until.ts'
import { declareQueue, processOn, publish, readyIds } from './bench.ts'

const NEVER_MS = 60_000
const SEED = Number(process.env.POSTHASTE_SEED ?? randomInt(2 ** 31))

interface Said {
  readonly id: string
  readonly openMs: number
  readonly committedAt: number
}

test.for([1, 3])(
  'with %i relays no message waits for the poll, whoever publishes meanwhile',
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
        Array.from({ length: 8 }, (_, i) => publisher(db.pool, seeded(SEED + i), i === 0 ? 3_000 : 150, 9_000)),
      )
    ).flat()
    await until(() => said.every(({ id }) => seen.has(id)), { timeoutMs: 3_000, what: 'every message is ready' })
    await watch()

    const waits = said.map(({ id, openMs, committedAt }) => ({ waitedMs: seen.get(id)! - committedAt, openMs }))
    const slow = waits.filter(({ waitedMs, openMs }) => waitedMs > Math.max(500, openMs > 200 ? openMs : 0))
    const sorted = waits.map(({ waitedMs }) => waitedMs).sort((a, b) => a - b)
    console.info(
      `${said.length} messages, p50 ${at(sorted, 0.5)} ms, p99 ${at(sorted, 0.99)} ms, longest ${at(sorted, 1)} ms`,
    )
    expect(slow).toEqual([])
  },
)

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

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
