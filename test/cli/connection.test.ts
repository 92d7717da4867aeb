import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Unreachable } from '../../src/cli/failure.ts'
import { UNNAMED } from '../../src/cli/target.ts'
import { cli } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { ROOT, scratch } from '../support/process.ts'
import { databaseUrl } from '../support/server.ts'

// Each command is a process of its own.
vi.setConfig({ testTimeout: 120_000 })

let database: TestDatabase

beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())

const NOBODY = 'postgres://ada:hunter2@127.0.0.1:1/shop'

describe('a database that cannot be reached', () => {
  test.concurrent('is told with host, port, user, database and three likely causes, never the password: exit code 3', async () => {
    const { code, stdout, stderr } = await cli(['status', '--url', NOBODY])
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
    expect(stderr).toContain('Cannot reach "127.0.0.1:1": connection refused')
    for (const fact of ['127.0.0.1', '1', 'ada', 'shop', '--url'])
      expect(stderr).toMatch(new RegExp(`^  .* ${fact}$`, 'm'))
    expect(stderr.match(/^ {2}[123]\. /gm)).toHaveLength(3)
    expect(stderr).not.toMatch(/hunter2| {4}at /)
  })

  test.concurrent('is one JSON object with --json', async () => {
    const { code, stderr } = await cli(['audit', '--json'], { env: { DATABASE_URL: NOBODY } })
    expect(code).toBe(3)
    expect(JSON.parse(stderr)).toMatchObject({
      version: 1,
      error: {
        code: 'DATABASE_UNREACHABLE',
        host: '127.0.0.1',
        port: 1,
        user: 'ada',
        database: 'shop',
        from: 'DATABASE_URL',
      },
    })
  })

  test.concurrent('ends every command with 3', async () => {
    const commands = ['migrate', 'relay', 'publish --type x --payload 1', 'peek billing', 'dead list', 'topology show']
    const answers = await Promise.all(commands.map((command) => cli([...command.split(' '), '--url', NOBODY])))
    for (const { code, stderr } of answers) {
      expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringContaining('connection refused') })
    }
  })

  test.concurrent.each([
    ['a database that does not exist', (url: string) => databaseUrl(url, 'nope'), '"nope" has not been created'],
    [
      'a role that does not exist',
      (url: string) => changed(url, { username: 'nobody', password: 'hunter2' }),
      '"nobody"',
    ],
    ['an unknown host', (url: string) => changed(url, { hostname: 'no.such.host.invalid' }), 'is misspelt in --url'],
  ])('may be %s', async (_, broken, cause) => {
    const { code, stderr } = await cli(['status', '--url', broken(database.url)])
    expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringContaining(cause) })
    expect(stderr).not.toContain('hunter2')
  })

  test.concurrent.each(['ECONNREFUSED', '28P01', 'EPIPE'])('that nobody named is told how it is named (%s)', (code) => {
    const target = { host: 'localhost', port: 5432, user: '', database: '', from: UNNAMED }
    const { causes } = new Unreachable(target, Object.assign(new Error(code), { code }))
    expect(causes).toContain('the database is elsewhere: nothing names it; give --url or DATABASE_URL')
    expect(causes).toHaveLength(3)
    expect(causes.join()).not.toContain(UNNAMED)
  })

  test.concurrent('shows its stack only when POSTHASTE_DEBUG is set', async () => {
    const { stderr } = await cli(['status', '--url', NOBODY], { env: { POSTHASTE_DEBUG: '1' } })
    expect(stderr).toContain('    at ')
  })
})

describe('a schema', () => {
  test.concurrent('that is missing: exit code 4, and the command that makes it', async () => {
    for (const command of [['status'], ['relay']]) {
      const { code, stderr } = await cli([...command, '--schema', 'other', '--url', database.url])
      expect({ code, stderr }).toEqual({ code: 4, stderr: 'Cannot find schema "other": run posthaste migrate\n' })
    }
  })

  test.concurrent('that is behind: exit code 4, also for --check, which names what is pending', async () => {
    await using behind = await createDatabase()
    await behind.pool.query(
      `delete from posthaste.migrations where name = (select max(name) from posthaste.migrations)`,
    )
    const status = await cli(['status', '--url', behind.url])
    expect(status).toMatchObject({ code: 4, stderr: expect.stringMatching(/1 migrations? .*run posthaste migrate/) })
    const check = await cli(['migrate', '--check', '--json', '--url', behind.url])
    expect(check.code).toBe(4)
    expect(JSON.parse(check.stdout)).toMatchObject({ pending: [expect.stringMatching(/^\d{4}_/)], ran: [] })
  })

  test.concurrent('is made by migrate, under any name; the second time there is nothing to do', async () => {
    const where = ['--schema', 'shop_mail', '--json', '--url', database.url]
    expect((await cli(['migrate', '--check', ...where])).code).toBe(4)
    const first = await cli(['migrate', ...where])
    const second = await cli(['migrate', ...where])
    expect([first.code, second.code]).toEqual([0, 0])
    const { ran, applied } = JSON.parse(first.stdout)
    expect(ran).toEqual([...applied, 'functions'])
    expect(JSON.parse(second.stdout)).toEqual({
      version: 1,
      schema: 'shop_mail',
      ran: [],
      applied,
      pending: [],
      functionsCurrent: true,
    })
    expect((await cli(['migrate', '--check', ...where])).code).toBe(0)
    expect((await cli(['audit', ...where])).code).toBe(0)
  })

  test.concurrent('is printed as SQL that psql takes: no database is needed', async () => {
    const { code, stdout } = await cli(['migrate', '--print', '--schema', 'printed'])
    expect(code).toBe(0)
    await database.pool.query(stdout)
    expect((await cli(['migrate', '--check', '--schema', 'printed', '--url', database.url])).code).toBe(0)
  })
})

describe('the database is named', () => {
  test.concurrent('by --url before DATABASE_URL before PG* before posthaste.config.ts', async () => {
    using home = scratch()
    writeFileSync(join(home.path, 'posthaste.config.ts'), `export default { url: 'postgres://127.0.0.1:4/config' }`)
    const told = async (args: string[], env: NodeJS.ProcessEnv) => {
      const { stderr } = await cli(['audit', '--json', ...args], { env, cwd: home.path })
      return JSON.parse(stderr).error.port
    }
    const url = ['--url', 'postgres://127.0.0.1:1/x']
    const environment = { DATABASE_URL: 'postgres://127.0.0.1:2/x' }
    const variables = { PGHOST: '127.0.0.1', PGPORT: '3' }
    expect(await told(url, { ...environment, ...variables })).toBe(1)
    expect(await told([], { ...environment, ...variables })).toBe(2)
    expect(await told([], variables)).toBe(3)
    expect(await told([], {})).toBe(4)
  })

  test.concurrent('by the variables of libpq', async () => {
    const { hostname, port, username, password, pathname } = new URL(database.url)
    const env = {
      PGHOST: hostname,
      PGPORT: port,
      PGUSER: username,
      PGPASSWORD: decodeURIComponent(password),
      PGDATABASE: pathname.slice(1),
    }
    expect(await cli(['audit'], { env })).toMatchObject({ code: 0, stderr: '' })
  })
})

describe('posthaste.config.ts', () => {
  const write = (directory: string, text: string) => {
    const file = join(directory, 'posthaste.config.ts')
    writeFileSync(file, text)
    return file
  }

  test.concurrent('gives url, schema, service and topology', async () => {
    using home = scratch()
    write(
      home.path,
      `import { defineTopology } from '${ROOT}src/index.ts'
       export default {
         url: ${JSON.stringify(database.url)},
         service: 'shop',
         topology: defineTopology({ exchanges: { orders: 'topic' }, queues: { billing: { from: [{ exchange: 'orders', routingKey: '#' }] } } }),
       } satisfies object`,
    )
    const diff = await cli(['topology', 'diff', '--json'], { cwd: home.path })
    expect(diff.code).toBe(1)
    expect(JSON.parse(diff.stdout)).toEqual({
      version: 1,
      missing: [
        'exchange "orders"',
        'queue "billing"',
        'binding of queue "billing" to exchange "orders" routing key "#"',
      ],
      conflicts: [],
      extra: [],
    })
    const first = await cli(['topology', 'declare', '--json'], { cwd: home.path })
    const second = await cli(['topology', 'declare', '--json'], { cwd: home.path })
    expect(JSON.parse(first.stdout).added).toHaveLength(3)
    expect(JSON.parse(second.stdout)).toEqual({ version: 1, added: [], extra: [] })
    expect((await cli(['topology', 'diff'], { cwd: home.path })).code).toBe(0)
    const show = await cli(['topology', '--json'], { cwd: home.path })
    expect(JSON.parse(show.stdout)).toMatchObject({
      exchanges: [{ name: '' }, { name: 'orders', kind: 'topic', owner: 'shop' }],
      queues: [{ name: 'billing', kind: 'standard', retry: { maxAttempts: 10 }, maxCrashes: 3, owner: 'shop' }],
      bindings: [{ exchange: 'orders', queue: 'billing', routingKey: '#', type: null }],
    })
  })

  test.concurrent.each([
    [`export default { urll: 'x' }`, 'Unknown option "urll": did you mean "url"?'],
    [`export const url = 'x'`, 'it has no default export'],
    [`throw new Error('boom')`, 'boom'],
  ])('that says %s is refused: exit code 2', async (text, reason) => {
    using home = scratch()
    const file = write(home.path, text)
    const { code, stderr } = await cli(['status', '--config', file])
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(reason) })
    expect(stderr).not.toContain('    at ')
  })

  test.concurrent('with a promise that nobody awaits ends the command without a stack', async () => {
    using home = scratch()
    const file = write(home.path, `Promise.reject(new Error('late'))\nexport default {}`)
    const { code, stderr } = await cli(['audit', '--config', file, '--url', database.url])
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'Cannot go on: late\n' })
  })
})

function changed(url: string, parts: Partial<Pick<URL, 'hostname' | 'username' | 'password'>>): string {
  return Object.assign(new URL(url), parts).href
}
