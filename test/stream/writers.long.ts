import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import { lonelyServer } from '../support/database.ts'
import { until } from '../support/until.ts'
import { bench } from './bench.ts'

const WRITERS = 1_000
const EACH = 20
/** How long the slow ones stay open at the least: it is the time itself that is tested. */
const OPEN_MS = 120_000

test('a thousand writers at once, with some open for minutes, here and in another database: a reader misses nothing', {
  timeout: 600_000,
}, async () => {
  const server = await lonelyServer({ settings: { max_connections: 1_200 } })
  onTestFinished(() => server.stop())
  await server.pool.query('create database elsewhere')
  const { stream, exchange, topology } = await bench({}, { ...server, drop: async () => {} })
  const own = new pg.Pool({ connectionString: server.url, max: 10 })
  own.on('error', () => {})
  const posthaste = new Posthaste({ database: pgDatabase(own), topology })
  const stop = new AbortController()
  onTestFinished(async () => {
    stop.abort()
    await posthaste.stop({ timeoutMs: 0 })
    await own.end()
  })
  await posthaste.start()
  const read: string[] = []
  void (async () => {
    for await (const { id } of posthaste.stream(stream).read({ from: 'earliest', signal: stop.signal })) read.push(id)
  })()

  const connect = async (url = server.url) => {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    await client.connect()
    return client
  }
  const say = async (client: pg.Client, key: string) => {
    const id = randomUUID()
    await client.query('select count(*) from posthaste.publish_all($1::text)', [
      JSON.stringify([{ id, exchange, type: 'moved', key, payload: { n: 1, account: key } }]),
    ])
    return id
  }
  const published: string[] = []
  const away = await connect(server.server.urlOf('elsewhere'))
  await away.query('begin')
  await away.query('select pg_current_xact_id()')
  const late = await connect()
  await late.query('begin')
  const lateId = await say(late, 'late')

  const writers = await Promise.all(Array.from({ length: WRITERS }, () => connect()))
  await Promise.all(
    writers.map(async (writer, n) => {
      for (let round = 0; round < EACH; round += 1) {
        await writer.query('begin')
        const id = await say(writer, `k${n % 50}`)
        await writer.query('savepoint s')
        await say(writer, `k${n % 50}`)
        await writer.query('rollback to s')
        const commits = (n + round) % 10 !== 0
        await writer.query(commits ? 'commit' : 'rollback')
        if (commits) published.push(id)
      }
      await writer.end()
    }),
  )
  // what the open ones hold up is nobody else's
  await until(() => read.length === published.length, { timeoutMs: 120_000, what: `${published.length} messages` })
  expect(read.toSorted()).toEqual(published.toSorted())
  await new Promise((resolve) => setTimeout(resolve, OPEN_MS))
  await late.query('commit')
  await away.query('commit')
  await until(() => read.length > published.length, { timeoutMs: 60_000 })
  expect(read.at(-1)).toBe(lateId)
  expect(read).toHaveLength(published.length + 1)
  await Promise.all([late.end(), away.end()])
})
