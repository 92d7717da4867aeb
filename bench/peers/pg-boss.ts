import pg from 'pg'
import { type Job, PgBoss, type SendOptions } from 'pg-boss'
import { type Handle, type Order, type Peer, type Sql, versionOf } from '../stand/peer.ts'

const BATCH = 500

// Nothing runs that the workloads do not need: no cron.
const COMMON = { schedule: false } as const

export const peer: Peer = {
  name: 'pg-boss',
  version: versionOf('pg-boss'),
  settings: {
    publish: 'boss.send(queue, data, { db }) with the client of the transaction; boss.insert for many',
    consume: `work(queue, { localConcurrency: connections, batchSize: ${BATCH}, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 })`,
    effect: 'the inserts of a batch in one transaction of the handler; the batch is completed after it',
    'wake-ups':
      'useListenNotify and notify: true, where a workload wants them; their publishers pay for them, so elsewhere they are off',
    fanOut: 'boss.subscribe(event, queue), boss.publish(event, data, { db })',
    cron: 'off (schedule: false)',
  },
  effect: 'at least once',
  cannot: {},
  async install(url, { routes, wakeUps }) {
    const boss = new PgBoss({ connectionString: url, supervise: false, ...COMMON })
    boss.on('error', () => {})
    await boss.start()
    for (const queue of new Set(Object.values(routes).flat()))
      await boss.createQueue(queue, { notify: wakeUps, retryLimit: 5, retryDelay: 1 })
    for (const [topic, queues] of Object.entries(routes))
      if (queues.length > 1) for (const queue of queues) await boss.subscribe(topic, queue)
    await boss.stop({ graceful: false })
  },
  async publisher(url, { routes }) {
    const boss = new PgBoss({ connectionString: url, max: 2, supervise: false, migrate: false, ...COMMON })
    boss.on('error', () => {})
    await boss.start()
    return {
      async publish(client, topic, order, options) {
        const send: SendOptions = {
          db: inTransaction(client),
          ...(options?.delayMs && { startAfter: later(options.delayMs) }),
        }
        const [queue, ...others] = routes[topic]!
        if (others.length > 0) await boss.publish(topic, order, send)
        else await boss.send(queue!, order, send)
      },
      async publishAll(client, topic, orders) {
        const jobs = orders.map((data) => ({ data }))
        for (const queue of routes[topic]!) await boss.insert(queue, jobs, { db: inTransaction(client) })
      },
      close: () => boss.stop({ graceful: false }),
    }
  },
  async work(url, options, handle) {
    const { queues, connections, wakeUps } = options
    const boss = new PgBoss({ connectionString: url, max: connections + 2, useListenNotify: wakeUps, ...COMMON })
    boss.on('error', () => {})
    const pool = new pg.Pool({ connectionString: url, max: connections })
    pool.on('error', () => {})
    await boss.start()
    const ways = {
      localConcurrency: connections,
      batchSize: BATCH,
      burstWhenBatchFull: true,
      pollingIntervalSeconds: 0.5,
    }
    for (const queue of queues)
      if (options.failures)
        await boss.work<Order, unknown>(queue, { ...ways, perJobResults: true }, (jobs) =>
          oneByOne(jobs, handle, queue),
        )
      else
        await boss.work<Order>(queue, ways, (jobs) =>
          options.effects ? inOneTransaction(pool, jobs, handle, queue) : plainly(jobs, handle, queue),
        )
    return {
      async stop() {
        await boss.stop({ graceful: false })
        await pool.end()
      },
    }
  },
}

async function plainly(jobs: Job<Order>[], handle: Handle, queue: string): Promise<void> {
  for (const { data } of jobs) await handle(data, none, queue)
}

async function inOneTransaction(pool: pg.Pool, jobs: Job<Order>[], handle: Handle, queue: string): Promise<void> {
  const client = await pool.connect()
  const sql: Sql = (statement, values) => client.query({ ...statement, values: [...values] })
  try {
    await client.query('begin')
    for (const { data } of jobs) await handle(data, sql, queue)
    await client.query('commit')
  } finally {
    client.release()
  }
}

async function oneByOne(jobs: Job<Order>[], handle: Handle, queue: string) {
  return await Promise.all(
    jobs.map(async ({ id, data }) => {
      try {
        await handle(data, none, queue)
        return { id, status: 'completed' as const }
      } catch {
        return { id, status: 'failed' as const }
      }
    }),
  )
}

const none: Sql = () => Promise.reject(new Error('Cannot run a statement: this workload has no effects'))

function inTransaction(client: pg.PoolClient) {
  return { executeSql: (text: string, values?: unknown[]) => client.query(text, values) }
}

function later(delayMs: number): Date {
  return new Date(Date.now() + delayMs)
}
