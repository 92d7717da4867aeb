import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { entries, LEDGER, ledgerOf, operation } from './bench.ts'
import { gate } from './psp.ts'
import type { StopBrief, Told } from './stop-child.ts'

const CHILD = fileURLToPath(new URL('stop-child.ts', import.meta.url))

let db: TestDatabase

beforeAll(async () => {
  db = await createDatabase()
  await db.pool.query(LEDGER)
})
afterAll(() => db.drop())

/** A provider that executes when it is told to, answers 409 to a key whose execution is under way, and replays what it has done. */
async function heldProvider({ held }: { readonly held: Promise<void> }) {
  const executed: string[] = []
  const requests: string[] = []
  const known = new Map<string, object>()
  const underWay = new Set<string>()
  const server = createServer(async (request, response) => {
    const answer = (status: number, body: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    const [, , asked] = request.url!.split('/').map(decodeURIComponent)
    if (request.method === 'GET') {
      const found = executed.includes(asked!)
      return answer(found ? 200 : 404, found ? { id: asked, reference: asked, cents: 500 } : { code: 'not_found' })
    }
    const key = String(request.headers['idempotency-key'])
    const { reference, cents } = JSON.parse(await text(request)) as { reference: string; cents: number }
    requests.push(reference)
    if (underWay.has(key)) return answer(409, { code: 'in_flight' })
    if (!known.has(key)) {
      underWay.add(key)
      await held
      executed.push(reference)
      known.set(key, { id: reference, reference, cents })
      underWay.delete(key)
    }
    return answer(200, known.get(key)!)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close().closeAllConnections())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, executed, requests }
}

interface Worker {
  readonly child: ChildProcess
  readonly stopped: Promise<unknown>
  readonly statuses: Promise<readonly string[]>
}

function worker(brief: Omit<StopBrief, 'url'>): Worker {
  const child = fork(CHILD, [JSON.stringify({ url: db.url, ...brief })], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const { promise: stopped, resolve: hasStopped } = Promise.withResolvers<void>()
  const { promise: statuses, resolve: told, reject } = Promise.withResolvers<readonly string[]>()
  child.on('message', (message: Told) => ('stopped' in message ? hasStopped() : told(message.statuses)))
  child.once('exit', (code) => reject(new Error(`the process ended with ${code}`)))
  statuses.catch(() => {})
  return { child, stopped, statuses }
}

const lapsed = (name: string) =>
  until(async () => {
    const { rows } = await db.pool.query(
      'select lease_until < clock_timestamp() as lapsed from posthaste.effects where operation = $1',
      [name],
    )
    return rows[0]?.lapsed === true
  })

test('operations that four processes run at once are executed once and booked once each, and all get the answer (E-9)', async () => {
  const provider = await heldProvider({ held: Promise.resolve() })
  const operations = Array.from({ length: 15 }, operation)
  const brief = { provider: provider.url, operations, leaseMs: 20_000, insist: true }
  const statuses = await Promise.all(Array.from({ length: 4 }, () => worker(brief).statuses))
  expect(statuses.flat()).toEqual(Array(4 * operations.length).fill('succeeded'))
  expect(provider.executed.toSorted()).toEqual(operations.toSorted())
  expect(provider.requests).toHaveLength(operations.length)
  for (const name of operations) expect(await entries(db.pool, name)).toBe(1)
})

describe('a process that is stopped past its lease', () => {
  test.each(['after the claim', 'after the call is begun'] as const)(
    '%s starts no call when it goes on; another has made it meanwhile (E-6)',
    async (point) => {
      const provider = await heldProvider({ held: Promise.resolve() })
      const name = operation()
      const brief = { provider: provider.url, operations: [name], leaseMs: 500 }
      const sleeper = worker({ ...brief, point })
      await sleeper.stopped
      await lapsed(name)
      expect(await worker({ ...brief, insist: true }).statuses).toEqual(['succeeded'])
      const before = provider.requests.length
      sleeper.child.kill('SIGCONT')
      expect((await sleeper.statuses)[0]).toMatch(/^(unknown|succeeded)$/)
      expect(provider.requests).toHaveLength(before)
      expect(provider.executed).toEqual([name])
      expect(await entries(db.pool, name)).toBe(1)
    },
  )

  test('during the call: 409 to who repeats it, one execution, and what the late answer said is kept (E-4, E-6)', async () => {
    const release = gate()
    const provider = await heldProvider({ held: release.opened })
    const name = operation()
    const brief = { provider: provider.url, operations: [name], leaseMs: 500 }
    const sleeper = worker({ ...brief, point: 'during the call' })
    await sleeper.stopped
    await lapsed(name)
    // reconcile finds nothing yet, the same key is under way: unknown, and nothing else is tried
    expect(await worker(brief).statuses).toEqual(['unknown'])
    expect(await ledgerOf(db.pool, name)).toMatchObject({ state: 'unknown', key_number: 1 })
    expect(provider.requests).toEqual([name, name])
    release.open()
    expect(await worker({ ...brief, insist: true }).statuses).toEqual(['succeeded'])
    sleeper.child.kill('SIGCONT')
    await sleeper.statuses
    expect(provider.executed).toEqual([name])
    expect(await entries(db.pool, name)).toBe(1)
    const { attempts, state } = await ledgerOf(db.pool, name)
    expect(state).toBe('succeeded')
    expect(attempts).toContainEqual(expect.objectContaining({ event: 'answered', token: '1', late: true }))
  })
})
