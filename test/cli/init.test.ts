import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, test, vi } from 'vitest'
import { cli } from '../support/cli.ts'
import { createDatabase } from '../support/database.ts'
import { ROOT, scratch } from '../support/process.ts'
import { until } from '../support/until.ts'

// Each command is a process of its own.
vi.setConfig({ testTimeout: 120_000 })

test('what posthaste init writes runs: it declares, produces, consumes, and stops in order', async () => {
  await using database = await createDatabase()
  using home = scratch()
  const shop = join(home.path, 'Coffee Shop')
  const env = { DATABASE_URL: database.url }
  const { code, stdout } = await cli(['init', shop])
  expect(code).toBe(0)
  expect(stdout).toContain('npx posthaste migrate')
  install(shop)

  expect(await cli(['topology', 'declare'], { env, cwd: shop })).toMatchObject({ code: 0, stderr: '' })
  const topology = JSON.parse((await cli(['topology', '--json'], { env, cwd: shop })).stdout)
  expect(topology.queues).toMatchObject([{ name: 'billing', owner: 'coffee-shop' }])

  const consumer = start(shop, 'consumer.ts', env)
  await until(() => consumer.out().includes('consuming'), { timeoutMs: 30_000 })
  const producer = start(shop, 'producer.ts', env)
  expect(await producer.ended).toEqual({ code: 0, stderr: '' })
  await until(() => consumer.out().includes('completed'), { timeoutMs: 30_000 })
  consumer.child.kill('SIGTERM')
  expect(await consumer.ended).toEqual({ code: 0, stderr: '' })
  const { rows } = await database.pool.query(
    'select o.cents, c.cents as charged from orders o join charges c on c.order_id = o.id',
  )
  expect(rows).toEqual([{ cents: 1999, charged: 1999 }])
})

test('it overwrites nothing, and writes all or nothing', async () => {
  using home = scratch()
  writeFileSync(join(home.path, 'messages.ts'), 'mine')
  writeFileSync(join(home.path, 'package.json'), '{"name":"mine"}')
  const { code, stderr } = await cli(['init', home.path])
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('messages.ts is there already') })
  expect(readdirSync(home.path).sort()).toEqual(['messages.ts', 'package.json'])
  expect(readFileSync(join(home.path, 'messages.ts'), 'utf8')).toBe('mine')
})

/** The packages that the new service would install. */
function install(directory: string): void {
  const modules = join(directory, 'node_modules')
  mkdirSync(join(modules, 'posthaste'), { recursive: true })
  writeFileSync(join(modules, 'posthaste/package.json'), '{"name":"posthaste","type":"module","exports":"./index.js"}')
  writeFileSync(join(modules, 'posthaste/index.js'), `export * from '${ROOT}src/index.ts'\n`)
  for (const name of ['pg', 'zod']) symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
}

function start(cwd: string, file: string, env: NodeJS.ProcessEnv) {
  const child = spawn(process.execPath, [file], { cwd, env: { ...process.env, NODE_NO_WARNINGS: '1', ...env } })
  let out = ''
  child.stdout.on('data', (chunk) => (out += chunk))
  const ended = Promise.all([once(child, 'close'), text(child.stderr)]).then(([[code], stderr]) => ({ code, stderr }))
  return { child, out: () => out, ended }
}
