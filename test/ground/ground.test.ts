import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT, scratch, systemNode } from '../support/process.ts'

type Packages = Record<string, string>

const read = (path: string) => JSON.parse(readFileSync(join(ROOT, path), 'utf8'))

describe('the packages', () => {
  test('are named in exact versions', () => {
    const { dependencies, devDependencies } = read('package.json') as Record<string, Packages>
    const { optionalDependencies } = read('scripts/node/package.json') as Record<string, Packages>
    const inexact = Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies }).filter(
      ([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version),
    )
    expect(inexact).toEqual([])
  })

  test("are locked without any machine's registry address", () => {
    const { packages } = read('package-lock.json') as {
      packages: Record<string, { resolved?: string; link?: boolean }>
    }
    const addressed = Object.values(packages).filter((entry) => entry.resolved && !entry.link)
    expect(addressed).toEqual([])
  })

  // A registry that lacks a platform's package makes npm leave it out of the lockfile, and `npm ci` then refuses it everywhere.
  test('are locked for every platform', () => {
    const { packages } = read('package-lock.json') as { packages: Record<string, { optionalDependencies?: Packages }> }
    const wanted = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}))
    expect(wanted.filter((name) => !packages[`node_modules/${name}`])).toEqual([])
  })

  test('are locked as package.json names them', () => {
    const { dependencies, devDependencies } = read('package.json') as Record<string, Packages>
    const locked = read('package-lock.json').packages[''] as Record<string, Packages>
    expect(locked.dependencies).toEqual(dependencies)
    expect(locked.devDependencies).toEqual(devDependencies)
  })
})

describe('an old Node', () => {
  const oldNode = systemNode()
  const version = oldNode ? String(spawnSync(oldNode, ['--version']).stdout).trim() : 'none'
  const isOld = Number(version.slice(1).split('.')[0]) < 22

  test.skipIf(!isOld)('gets one sentence from the command line', () => {
    using home = scratch()
    const file = join(home.path, 'main.mjs')
    writeFileSync(file, stripTypeScriptTypes(readFileSync(join(ROOT, 'src/cli/main.ts'), 'utf8')))
    const { status, stderr } = spawnSync(oldNode!, [file], { encoding: 'utf8' })
    expect(stderr).toBe(`Posthaste needs Node 22.18 or newer, and this is ${version}: https://nodejs.org\n`)
    expect(status).toBe(1)
  })

  test.skipIf(!isOld)('runs the scripts all the same, on the Node that npm brought', () => {
    const { stdout, stderr, status } = spawnSync(
      oldNode!,
      [join(ROOT, 'scripts/ensure.mjs'), '--print', 'process.versions.node'],
      { encoding: 'utf8' },
    )
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(Number(stdout.split('.')[0])).toBeGreaterThanOrEqual(24)
  })
})

describe('the floors', () => {
  test('hold', () => {
    expect(floors(ROOT)).toEqual({ status: 0, stderr: '' })
  })

  test.each([
    ['src/rules/route.ts', `import pg from 'pg'`, 'src/rules/route.ts → pg: rules are pure'],
    [
      'src/rules/route.ts',
      `import '../errors.ts'\nexport const now = () => Date.now()`,
      'src/rules/route.ts → Date.now()',
    ],
    ['src/rules/route.ts', `import type { Relay } from '../relay.ts'`, 'it never climbs'],
    ['src/relay.ts', `export * from './cli/main.ts'`, 'it never climbs'],
    ['src/machinery/loop.ts', `import { message } from '../rules/message.ts'`, 'machinery knows no messages'],
    ['src/consumer.ts', `await import('./transports/nats.ts')`, 'nothing inside imports a side room'],
    ['src/transports/nats.ts', `import { Relay } from '../relay.ts'`, 'a side room knows its port'],
    ['src/transports/nats.ts', `import './kafka.ts'`, 'not another side room'],
    ['src/cli/queue.ts', `import { ready } from '../postgres/ready.ts'`, 'what the command line can do'],
    ['src/consumer.ts', `import {\n  Pool,\n} from 'pg'`, 'a noun speaks to Postgres through'],
    ['src/stream.ts', `import { connect } from '@nats-io/transport-node'`, 'no particular broker'],
  ])('catch %s when it says %s', (file, text, reason) => {
    using home = scratch()
    mkdirSync(join(home.path, dirname(file)), { recursive: true })
    writeFileSync(join(home.path, file), `${text}\n`)
    const { status, stderr } = floors(home.path)
    expect(stderr).toContain(reason)
    expect(status).toBe(1)
  })

  test.each([
    ['src/relay.ts', `import { claim } from './postgres/ready.ts'\n// import pg from 'pg'`],
    ['src/rules/route.ts', `import { z } from 'zod'\nimport { PosthasteError } from '../errors.ts'`],
    ['src/databases/pg.ts', `import type { Database } from '../database.ts'\nimport pg from 'pg'`],
    [
      'src/demo/demo.ts',
      `import { startEmbeddedPostgres } from '../embedded/index.ts'\nimport { Posthaste } from '../index.ts'`,
    ],
  ])('let %s go down', (file, text) => {
    using home = scratch()
    mkdirSync(join(home.path, dirname(file)), { recursive: true })
    writeFileSync(join(home.path, file), `${text}\n`)
    expect(floors(home.path)).toEqual({ status: 0, stderr: '' })
  })
})

function floors(directory: string): { status: number | null; stderr: string } {
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'scripts/floors.mjs'), directory], {
    encoding: 'utf8',
  })
  return { status, stderr }
}
