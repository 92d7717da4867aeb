// The limit: the least row work that does the job, with the same driver, prepared statements, connections and batches.
import pg from 'pg'
import type { Handle, Order, Peer, Sql, WorkOptions } from '../stand/peer.ts'
import { plain, type Statement } from '../stand/plain.ts'
import { runOn } from '../stand/server.ts'
import { OrderPlaced } from '../stand/shop.ts'

const BATCH = 200
const messages = plain('publish-tx')
const bulk = plain('publish-bulk')
const jobs = plain('drain-noop')

export const peer: Peer = {
  name: 'plain',
  version: 'SQL',
  settings: {
    publish: 'insert into a table with a primary key',
    consume: `begin; delete … for update skip locked returning, ${BATCH} at a time; commit`,
  },
  effect: 'exactly once',
  cannot: {
    'fan-out': 'one table has no queues',
    'wake-up': 'a loop that deletes is told of nothing',
    silent: 'its publishers wake nobody',
    delay: 'the limit has no delays',
    retry: 'the limit has no retries',
  },
  async install(url) {
    await runOn(url, messages('set_up').text, jobs('set_up').text)
  },
  async publisher() {
    return {
      async publish(client, topic, order) {
        await client.query({ ...messages('insert_message'), values: [idOf(order), topic, JSON.stringify(order)] })
      },
      async publishAll(client, topic, orders) {
        const rows = orders.map((order) => ({ id: idOf(order), type: topic, payload: order }))
        await client.query({ ...bulk('insert_messages'), values: [JSON.stringify(rows)] })
      },
      async close() {},
    }
  },
  async work(url, options, handle) {
    const pool = new pg.Pool({ connectionString: url, max: options.connections })
    pool.on('error', () => {})
    const stopped = { yes: false }
    const loops = Array.from({ length: options.connections }, () => loop(pool, options, handle, stopped))
    const done = Promise.all(loops)
    done.catch(() => {})
    return {
      async stop() {
        stopped.yes = true
        await done
        await pool.end()
      },
    }
  },
}

async function loop(pool: pg.Pool, options: WorkOptions, handle: Handle, stopped: { readonly yes: boolean }) {
  const client = await pool.connect()
  client.on('error', () => {})
  const sql: Sql = (statement: Statement, values) => client.query({ ...statement, values: [...values] })
  while (!stopped.yes) {
    await client.query('begin')
    const { rows } = await client.query({ ...jobs('take'), values: [BATCH] })
    for (const { payload } of rows) await handle(payload as Order, sql, options.queues[0]!)
    await client.query('commit')
    if (rows.length === 0) break
  }
  client.release()
}

// The limit makes its ids as ours does.
function idOf(order: Order): string {
  return OrderPlaced.create({ ...order }).id
}
