import { type ChildProcess, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, inject, onTestFinished, test } from 'vitest'
import type { DemoResult } from '../../src/demo/demo.ts'
import { readIntents } from '../../src/demo/record.ts'
import { cli, spawnCli } from '../support/cli.ts'
import { noLonelyServer } from '../support/database.ts'
import { lives, scratch } from '../support/process.ts'
import { run } from '../support/server.ts'
import { until } from '../support/until.ts'

const LONG = 180_000

describe('the demo, in a database of its own on a given server', () => {
  const env = { DATABASE_URL: inject('server').url }

  test('loses and doubles nothing while processes are killed, and prints what anybody can count again', {
    timeout: LONG,
  }, async () => {
    const { code, stdout, stderr } = await cli(['demo', '--orders', '400', '--seed', '3', '--json', '--keep'], { env })
    expect(code, stderr).toBe(0)
    const result = resultOf(stdout)
    onTestFinished(() => remove(result))

    expect(result).toEqual(SHAPE)
    expect(result).toMatchObject({ lost: 0, duplicates: 0, phantoms: 0, oversold: 0, auditDifference: 0 })
    const { orders, effects, kills } = result
    expect(orders.committed + orders.rolledBack + orders.unknown).toBe(400)
    expect(kills.relay).toBeGreaterThanOrEqual(1)
    expect(kills.worker).toBeGreaterThanOrEqual(kills.withWorkInFlight)
    expect(kills.withWorkInFlight).toBeGreaterThanOrEqual(1)

    const { rows } = await run(
      result.databaseUrl,
      'select service, order_id::int as id from shop.effects order by 1, 2',
    )
    const there = (await run(result.databaseUrl, 'select id::int from shop.orders order by id')).rows.map(
      ({ id }) => id,
    )
    for (const service of Object.keys(effects)) {
      expect(rows.filter((effect) => effect.service === service).map(({ id }) => id)).toEqual(there)
    }
    const known = await readIntents(result.intents)
    const outcomes = (wanted: string) => known.filter(({ outcome }) => outcome === wanted).map(({ order }) => order)
    expect(there).toEqual(expect.arrayContaining(outcomes('committed')))
    expect(there.filter((id) => outcomes('rolledBack').includes(id))).toEqual([])
    expect(known).toHaveLength(400)
  })

  test.each([
    ['loss', { lost: 1, duplicates: 0 }],
    ['duplicate', { lost: 0, duplicates: 1 }],
  ])('fails when a %s is injected, and drops its database', { timeout: LONG }, async (kind, expected) => {
    const { code, stdout, stderr } = await cli(['demo', '--orders', '100', '--no-chaos', '--json', '--inject', kind], {
      env,
    })
    expect(code, stderr).toBe(1)
    const result = resultOf(stdout)
    expect(result).toMatchObject(expected)
    expect(existsSync(result.intents)).toBe(false)
    await expect(run(result.databaseUrl, 'select 1')).rejects.toThrow('does not exist')
  })
})

describe.skipIf(noLonelyServer)('the demo, on a server of its own', () => {
  test('stays at its url with --keep, until the command it prints removes it', { timeout: LONG }, async () => {
    using home = shared()
    const { code, stdout, stderr } = await cli(['demo', '--orders', '20', '--no-chaos', '--json', '--keep'], home)
    expect(code, stderr).toBe(0)
    const { databaseUrl, intents } = resultOf(stdout)
    expect((await run(databaseUrl, 'show fsync')).rows).toEqual([{ fsync: 'on' }])
    expect(readFileSync(intents, 'utf8').split('\n').filter(Boolean)).toHaveLength(40)

    const [, command] = /Remove both with +(.*)/.exec(stderr)!
    expect(spawnSync('sh', ['-c', command!]).status).toBe(0)
    await expect(run(databaseUrl, 'select 1')).rejects.toThrow('ECONNREFUSED')
    expect(ours(home.path)).toEqual([])
  })

  test('leaves nothing running and nothing lying about after Ctrl-C', { timeout: LONG }, async () => {
    using home = shared()
    const demo = spawnCli(['demo', '--orders', '100000'], home)
    const family = await working(demo)
    demo.kill('SIGINT')
    expect((await once(demo, 'exit'))[0]).toBe(130)
    await until(() => !family.some(lives), { what: 'everybody is gone' })
    expect(ours(home.path)).toEqual([])
  })

  test('leaves nothing running after SIGKILL', { timeout: LONG }, async () => {
    using home = shared()
    const demo = spawnCli(['demo', '--orders', '100000'], home)
    const family = await working(demo)
    demo.kill('SIGKILL')
    await until(() => !family.some(lives), { what: 'everybody is gone', timeoutMs: 20_000 })
  })
})

const SHAPE: DemoResult = {
  orders: { committed: expect.any(Number), rolledBack: expect.any(Number), unknown: expect.any(Number) },
  effects: { billing: expect.any(Number), inventory: expect.any(Number), notifications: expect.any(Number) },
  lost: 0,
  duplicates: 0,
  phantoms: 0,
  oversold: 0,
  kills: {
    relay: expect.any(Number),
    worker: expect.any(Number),
    backend: expect.any(Number),
    withWorkInFlight: expect.any(Number),
  },
  throughputPerSecond: expect.any(Number),
  latencyMs: { p50: expect.any(Number), p95: expect.any(Number), p99: expect.any(Number) },
  auditDifference: 0,
  databaseUrl: expect.stringMatching(/^postgres(ql)?:\/\//),
  intents: expect.stringMatching(/intents\.ndjson$/),
}

function resultOf(stdout: string): DemoResult {
  const { version, ...result } = JSON.parse(stdout.trimEnd().split('\n').at(-1)!)
  expect(version).toBe(1)
  return result
}

async function remove({ databaseUrl, intents }: DemoResult): Promise<void> {
  rmSync(dirname(intents), { recursive: true, force: true })
  await run(inject('server').url, `drop database ${new URL(databaseUrl).pathname.slice(1)} with (force)`)
}

/** A directory for temporary files that the server's account may enter. */
function shared() {
  const home = scratch()
  chmodSync(home.path, 0o755)
  return { ...home, env: { TMPDIR: home.path } }
}

// Libraries leave caches of compiled modules there.
function ours(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.startsWith('posthaste'))
}

/** The processes of a demo that has begun to place orders. */
async function working(demo: ChildProcess): Promise<number[]> {
  for await (const line of createInterface({ input: demo.stdout! })) {
    if (/ [1-9][\d,]* orders placed/.test(line)) break
  }
  demo.stdout!.resume()
  const family = childrenOf(demo.pid!)
  expect(family.length).toBeGreaterThanOrEqual(10)
  return family
}

function childrenOf(parent: number): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.filter((pid) => parentOf(pid) === parent).map(Number)
}

function parentOf(pid: string): number {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1])
  } catch {
    return 0
  }
}
