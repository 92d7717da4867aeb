// A reader of a stream in a process of its own, to be killed: node child.ts <json>. Says "ready" when it reads.
import { flushCompileCache } from 'node:module'
import pg from 'pg'
import { defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'

export interface ChildOptions {
  readonly url: string
  readonly stream: string
  readonly exchange: string
}

const { url, stream, exchange } = JSON.parse(process.argv[2]!) as ChildOptions
const pool = new pg.Pool({ connectionString: url, max: 6 })
pool.on('error', () => {})
const topology = defineTopology({
  exchanges: { [exchange]: 'fanout' },
  queues: { [stream]: { kind: 'stream', from: [{ exchange }], retry: { minMs: 1, maxMs: 5, jitter: 'none' } } },
})
const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
posthaste.consumer(stream, { concurrency: 3, batchSize: 20 }).otherwise(async ({ id, payload }, { tx }) => {
  const { account, n } = payload as { account: string; n: number }
  await tx.query('insert into effects (grp, message_id, account, n) values ($1, $2, $3, $4)', [stream, id, account, n])
})
await posthaste.start({ relay: false })
flushCompileCache()
console.log('ready')
