import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect } from 'vitest'
import { defineTopology, healthHandler, Posthaste, pgDatabase } from '../../src/index.ts'
import { spawnCli } from '../support/cli.ts'
import { createDatabase, lonelyServer, noLonelyServer, type TestDatabase } from '../support/database.ts'
import { freePort } from '../support/free-port.ts'
import { lives } from '../support/process.ts'
import { test } from '../support/side-by-side.ts'
import { until } from '../support/until.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())

interface Probed {
  readonly status: number
  readonly body: Record<string, unknown>
}

async function probe(port: number, path: string): Promise<Probed> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`)
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

async function answering(posthaste: Posthaste<unknown>) {
  const server = createServer(healthHandler(posthaste)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const dispose = () => {
    server.closeAllConnections()
    server.close()
  }
  return { port, [Symbol.dispose]: dispose }
}

test('a process is ready from its start to its stop, and alive before and after', async () => {
  const topology = defineTopology({ queues: { billing: {} } })
  const posthaste = new Posthaste({ database: pgDatabase(database.pool), topology })
  const release = Promise.withResolvers<void>()
  const begun = posthaste.until('attempt-started')
  posthaste.consumer('billing').otherwise(() => release.promise)
  using handler = await answering(posthaste as Posthaste<unknown>)
  expect(await probe(handler.port, '/live')).toEqual({ status: 200, body: { version: 1, live: true } })
  expect(await probe(handler.port, '/ready')).toMatchObject({
    status: 503,
    body: { ready: false, checks: { started: false, database: true }, relay: 'none' },
  })

  await posthaste.start()
  expect(await probe(handler.port, '/ready?verbose')).toMatchObject({ status: 200, body: { version: 1, ready: true } })
  await until(async () => (await posthaste.health()).relay === 'on-duty')
  await until(async () => (await posthaste.health()).listening)

  await pgDatabase(database.pool).transaction((tx) => posthaste.publish(tx, { type: 'billing', payload: 1 }))
  await begun
  const stopped = posthaste.stop()
  expect(await probe(handler.port, '/ready')).toMatchObject({ status: 503, body: { checks: { started: false } } })
  expect(await probe(handler.port, '/live')).toMatchObject({ status: 200 })
  release.resolve()
  await stopped
})

test('probes may have a prefix, and another path is told which there are', async () => {
  const posthaste = new Posthaste({ database: pgDatabase(database.pool) })
  using handler = await answering(posthaste)
  expect((await probe(handler.port, '/posthaste/live')).status).toBe(200)
  expect(await probe(handler.port, '/')).toEqual({ status: 404, body: { version: 1, paths: ['/live', '/ready'] } })
})

test('however many probe, the database is asked once a second at most', async () => {
  let asked = 0
  const query = async () => {
    asked += 1
    return { rows: [] }
  }
  const counting = { ...pgDatabase(database.pool), query }
  const posthaste = new Posthaste({ database: counting })
  await Promise.all(Array.from({ length: 50 }, () => posthaste.health()))
  expect(asked).toBe(1)
})

test('a database without the schema, or one that does not answer, is not ready', async () => {
  const elsewhere = new Posthaste({ database: pgDatabase(database.pool), schema: 'nowhere' })
  expect(await elsewhere.health()).toMatchObject({ ready: false, checks: { database: false } })
  const silent = { ...pgDatabase(database.pool), query: () => new Promise<never>(() => {}) }
  expect(await new Posthaste({ database: silent }).health()).toMatchObject({ checks: { database: false } })
})

test.skipIf(noLonelyServer)(
  'posthaste relay --health-port: alive through an outage of the database, ready before and after it',
  { timeout: 90_000 },
  async () => {
    await using lonely = await lonelyServer()
    const port = await freePort()
    const relay = spawnCli(['relay', '--json', '--health-port', String(port), '--url', lonely.url])
    const ended = once(relay, 'close')
    relay.stdout!.resume()
    try {
      const status = (path: string) =>
        probe(port, path)
          .then(({ status }) => status)
          .catch(() => 0)
      const becomes = (wanted: number) =>
        until(async () => (await status('/ready')) === wanted, { timeoutMs: 30_000, what: `/ready is ${wanted}` })
      await becomes(200)
      expect((await probe(port, '/ready')).body).toMatchObject({ version: 1, ready: true, checks: { started: true } })
      await lonely.server.crash()
      await becomes(503)
      expect(await status('/live')).toBe(200)
      await lonely.server.restart()
      await becomes(200)
      relay.kill('SIGTERM')
      expect((await ended)[0]).toBe(0)
    } finally {
      if (lives(relay.pid!)) relay.kill('SIGKILL')
    }
  },
)

test('a port that another program holds is named, and nothing is started', { timeout: 60_000 }, async () => {
  const posthaste = new Posthaste({ database: pgDatabase(database.pool) })
  const server = createServer(healthHandler(posthaste)).listen(0)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const relay = spawnCli(['relay', '--json', '--url', database.url], { env: { POSTHASTE_HEALTH_PORT: String(port) } })
  let [out, complaint] = ['', '']
  relay.stdout!.on('data', (chunk) => (out += chunk))
  relay.stderr!.on('data', (chunk) => (complaint += chunk))
  const [code] = await once(relay, 'close')
  server.close()
  expect(complaint).toContain(`Cannot listen on port \\"${port}\\": another program does`)
  expect({ code, out }).toEqual({ code: 2, out: '' })
})
