import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { firstLine } from '../support/process.ts'
import { seeded } from '../support/random.ts'
import { until } from '../support/until.ts'
import {
  accountOf,
  deadLettersOf,
  drained,
  EFFECT,
  effectsOf,
  endsOf,
  inboxOf,
  makeQueue,
  type Numbered,
  processOn,
  publishReady,
} from './bench.ts'
import type { ChildOptions } from './child.ts'

const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url))
const EMPTY = { ready: 0, scheduled: 0, leased: 0, dead: 0 }

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
})
afterAll(() => db.drop())

function startChild(options: ChildOptions): ChildProcess {
  const child = spawn(process.execPath, [CHILD, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

test('of 500 messages with one that kills its process, 499 take effect and one is dead-lettered as crashed', {
  timeout: 90_000,
}, async () => {
  const queue = await makeQueue(db.pool, { maxCrashes: 2 })
  const ids = await publishReady(db.pool, queue, 500)
  const options = { url: db.url, queue, concurrency: 2, batchSize: 50, poison: 250 }
  let crashes = 0
  let over = false
  const supervise = async () => {
    while (!over) {
      const [, signal] = await once(startChild(options), 'exit')
      if (signal === 'SIGKILL' && !over) crashes += 1
    }
  }
  const supervising = supervise()
  await drained(db.pool, queue, 500, 80_000)
  over = true

  expect(await deadLettersOf(db.pool, queue)).toMatchObject([{ message_id: ids[250], reason: 'crashed', crashes: 3 }])
  expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.filter((_, n) => n !== 250).map((id) => [id, 1])))
  expect(await accountOf(db.pool, queue)).toEqual({ ...EMPTY, dead: 1 })
  expect(await inboxOf(db.pool, queue)).toEqual(new Set(ids.filter((_, n) => n !== 250)))
  expect(crashes).toBe(3)
  void supervising
})

test('50 SIGKILLs at random moments dead-letter nothing, and every message takes effect once', {
  timeout: 120_000,
}, async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  console.log(`seed ${seed}`)
  const random = seeded(seed)
  const queue = await makeQueue(db.pool)
  const ids = await publishReady(db.pool, queue, 2_000)
  const options = { url: db.url, queue, concurrency: 3, batchSize: 'auto' as const, attemptMs: 1 }
  const lives = async (kills: number) => {
    for (let n = 0; n < kills; n += 1) {
      const child = startChild(options)
      await firstLine(child)
      await new Promise((resolve) => setTimeout(resolve, random() * 100))
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
  await Promise.all([lives(25), lives(25)])
  startChild(options)
  await drained(db.pool, queue, 2_000, 60_000)

  expect(await deadLettersOf(db.pool, queue)).toEqual([])
  expect(await effectsOf(db.pool, queue)).toEqual(new Map(ids.map((id) => [id, 1])))
})

test('a process that is alive after a rollback is charged with nothing', async () => {
  const queue = await makeQueue(db.pool)
  const [id] = await publishReady(db.pool, queue, 1)
  let calls = 0
  const first = processOn(db.url)
  const watching = processOn(db.url)
  const handle = async (tx: { query(text: string, values?: unknown[]): Promise<unknown> }) => {
    calls += 1
    await tx.query(EFFECT, [queue.name, id, 0])
    if (calls <= 8) throw Object.assign(new Error('deadlock detected'), { code: '40P01' })
  }
  await first
    .consumer(queue)
    .otherwise((_, { tx }) => handle(tx))
    .start()
  await watching
    .consumer(queue)
    .otherwise((_, { tx }) => handle(tx))
    .start()
  await drained(db.pool, queue, 1)
  expect([...first.told('crash-counted'), ...watching.told('crash-counted')]).toEqual([])
  expect([...first.told('retried'), ...watching.told('retried')]).toEqual([])
  expect(await effectsOf(db.pool, queue)).toEqual(new Map([[id, 1]]))
  expect(calls).toBe(9)
})

test('what a process left behind when it was killed is attempted again within seconds, by a process that was idle', {
  timeout: 30_000,
}, async () => {
  const queue = await makeQueue(db.pool)
  const idle = processOn(db.url, { relay: false })
  const seen: number[] = []
  const ids = await publishReady(db.pool, queue, 20)
  const child = startChild({ url: db.url, queue, concurrency: 1, batchSize: 20, poison: 19 })
  await once(child, 'exit')
  await until(async () => (await endsOf(db.pool, queue)) === 0)
  await idle
    .consumer(queue, { batchSize: 20 })
    .otherwise(({ payload, crashes }) => {
      expect(crashes).toBe(1)
      seen.push((payload as Numbered).n)
    })
    .start()
  await drained(db.pool, queue, 20, 10_000)
  expect(seen.toSorted((a, b) => a - b)).toEqual(ids.map((_, n) => n))
  expect(idle.told('crash-counted')).toHaveLength(20)
})
