import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { expect } from 'vitest'
import { migrate, Posthaste, pgDatabase } from '../../src/index.ts'
import { ROOT } from '../support/process.ts'
import { run } from '../support/server.ts'
import { until } from '../support/until.ts'
import type { Installation } from './installation.ts'

const EACH = 100

/**
 * An installed release makes the schema and works; this checkout migrates it meanwhile and works beside it, on the same queue; then
 * each goes on alone, with the relay of the other gone. Nothing may be lost, doubled, or complained of.
 */
export async function besideThisCheckout(installation: Installation, url: string, schema: string): Promise<void> {
  await run(url, `create schema ${schema}_shop; create table ${schema}_shop.effects (id text, by text)`)
  using theirs = new Shop('theirs', installation.write(`${schema}.mjs`, program('posthaste')), { url, schema })
  await theirs.tell('migrate')
  await theirs.tell('start')
  await theirs.publishes(EACH)

  const busy = theirs.publishes(EACH)
  await migrate({ url, schema })
  await busy
  using ours = new Shop('ours', writeHere(schema), { url, schema })
  await ours.tell('start')
  await Promise.all([theirs.publishes(EACH), ours.publishes(EACH)])

  await theirs.tell('stop')
  await ours.publishes(EACH)
  await theirs.tell('start')
  await ours.tell('stop')
  await theirs.publishes(EACH)
  await effectsAre(6 * EACH)
  await theirs.tell('stop')
  expect({ theirs: theirs.complaints, ours: ours.complaints }).toEqual({ theirs: '', ours: '' })

  async function effectsAre(count: number): Promise<void> {
    const seen = async () => (await run(url, `select count(*)::int as rows from ${schema}_shop.effects`)).rows[0].rows
    await until(async () => (await seen()) >= count)
    const { rows } = await run(
      url,
      `select count(*)::int as rows, count(distinct id)::int as ids from ${schema}_shop.effects`,
    )
    expect(rows).toEqual([{ rows: count, ids: count }])
    const by = await run(url, `select distinct by from ${schema}_shop.effects order by by`)
    expect(by.rows).toEqual([{ by: 'ours' }, { by: 'theirs' }])
    const pool = new pg.Pool({ connectionString: url })
    const audit = await new Posthaste({ database: pgDatabase(pool), schema }).audit()
    await pool.end()
    expect(audit.difference).toBe(0)
  }
}

/** A process with relay, consumer and producer, which does as it is told, one word at a time. */
class Shop implements Disposable {
  readonly #child: ChildProcess
  complaints = ''

  constructor(name: string, file: string, { url, schema }: { url: string; schema: string }) {
    this.#child = spawn(process.execPath, [file], {
      env: { ...process.env, DATABASE_URL: url, SCHEMA: schema, NAME: name, NODE_NO_WARNINGS: '1' },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child.stderr?.on('data', (chunk) => (this.complaints += chunk))
  }

  publishes(count: number): Promise<void> {
    return this.tell('publish', count)
  }

  async tell(word: string, count = 0): Promise<void> {
    this.#child.send({ word, count })
    const ended = once(this.#child, 'exit').then(() => undefined)
    const answer = await Promise.race([once(this.#child, 'message'), ended])
    if (answer === undefined || answer[0] !== word) throw new Error(`${word}: ${answer?.[0] ?? this.complaints}`)
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL')
    rmSync(join(ROOT, '.posthaste', 'beside'), { recursive: true, force: true })
  }
}

function writeHere(schema: string): string {
  const folder = join(ROOT, '.posthaste', 'beside')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${schema}.mjs`)
  writeFileSync(file, program('../../src/index.ts'))
  return file
}

// What every release since the first has: nothing newer may be used here.
function program(posthaste: string): string {
  return `
import pg from 'pg'
import { defineMessage, defineTopology, migrate, Posthaste, pgDatabase } from '${posthaste}'

const { DATABASE_URL: url, SCHEMA: schema, NAME: name } = process.env
const schemaOf = { '~standard': { version: 1, vendor: 'shop', validate: (value) => ({ value }) } }
const Placed = defineMessage('placed', schemaOf, { key: ({ n }) => String(n % 7) })
const topology = defineTopology({ queues: { billing: { from: [Placed] } } })
const pool = new pg.Pool({ connectionString: url })
pool.on('error', () => {})
const logger = { debug() {}, info() {}, warn: (facts, words) => complain(words, facts), error: (facts, words) => complain(words, facts) }
const complain = (words, facts) => process.stderr.write(words + ' ' + JSON.stringify(facts) + '\\n')
let posthaste

const does = {
  migrate: () => migrate({ url, schema }),
  async start() {
    posthaste = new Posthaste({ database: pgDatabase(pool), topology, schema, logger })
    posthaste.consumer('billing').on(Placed, async ({ payload, id }, { tx }) => {
      await tx.query('insert into ' + schema + '_shop.effects values ($1, $2)', [id, name])
    })
    await posthaste.start()
  },
  async publish(count) {
    for (let n = 0; n < count; n++) {
      const client = await pool.connect()
      await client.query('begin')
      await posthaste.publish(client, Placed.create({ n }))
      await client.query('commit')
      client.release()
    }
  },
  stop: () => posthaste.stop(),
}

process.on('disconnect', () => process.exit())
process.on('message', ({ word, count }) => {
  does[word](count).then(() => process.send(word), (error) => process.send(String(error.stack)))
})
`
}
