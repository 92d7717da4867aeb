import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { defineMessage, defineTopology } from '../../src/index.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { service, unaccounted } from './bench.ts'

const run = promisify(execFile)
const Job = defineMessage('job', z.object({ n: z.int() }))
const topology = defineTopology({ queues: { jobs: { from: [Job], retry: { maxAttempts: 3, minMs: 1, maxMs: 1 } } } })
const JOBS = 60

const PYTHON = process.env.PYTHON ?? 'python3'
const noPsql = missing('psql', ['--version'])
const noPython = missing(PYTHON, ['-c', 'import psycopg'])

/** Why a program cannot be run here, said once; undefined when it can. */
function missing(program: string, args: readonly string[]): string | undefined {
  const { status, error } = spawnSync(program, args, { stdio: 'ignore' })
  if (status === 0) return undefined
  const reason = `${[program, ...args].join(' ')}: ${error ? 'it is not installed' : `exit code ${status}`}`
  console.warn(`skipped: ${reason}`)
  return reason
}

async function jobs(messages = JOBS) {
  const db = await createDatabase()
  const main = service(db.url, topology)
  onTestFinished(() => db.drop())
  await main.posthaste.declare()
  await db.pool.query('create table effects (who text, n int, message uuid)')
  await main.publish(...Array.from({ length: messages }, (_, n) => Job.create({ n })))
  return { ...main, db }
}

/** A worker in plain SQL over a driver: receive, effect and completion in one transaction, until nothing is left. */
async function workInSql(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  for (let had = 1; had > 0; ) {
    await client.query('begin')
    const { rows } = await client.query(`select * from posthaste.receive('jobs', 3, '30 seconds')`)
    for (const { lease_id, token, position, message_id, payload } of rows) {
      await client.query(`insert into effects values ('driver', $1, $2)`, [payload.n, message_id])
      await client.query('select posthaste.complete($1, $2, $3)', [lease_id, token, position])
    }
    await client.query('commit')
    had = rows.length
  }
  await client.end()
}

async function psql(url: string, script: string): Promise<string> {
  const child = run('psql', ['-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', url, '-f', '-'])
  child.child.stdin!.end(script)
  return (await child).stdout.trim()
}

const PYTHON_WORKER = `
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    while True:
        with conn.transaction():
            rows = conn.execute("select lease_id, token, position, message_id, payload from posthaste.receive('jobs', 3, '30 seconds')").fetchall()
            for lease, token, position, message, payload in rows:
                conn.execute("insert into effects values ('python', %s, %s)", (payload["n"], message))
                conn.execute("select posthaste.complete(%s, %s, %s)", (lease, token, position))
        if not rows:
            break
`

async function settled({ posthaste, db }: Awaited<ReturnType<typeof jobs>>): Promise<string[]> {
  await until(async () => (await db.pool.query(`select posthaste.backlog('jobs')::int as n`)).rows[0].n === 0, {
    timeoutMs: 30_000,
  })
  const { rows } = await db.pool.query('select who, n from effects order by n')
  expect(rows.map(({ n }) => n)).toEqual(Array.from({ length: JOBS }, (_, n) => n))
  expect(unaccounted(await posthaste.audit())).toEqual([])
  return [...new Set(rows.map(({ who }) => who as string))].toSorted()
}

test('a driver in plain SQL works beside TypeScript on one queue, each message once', async () => {
  const all = await jobs()
  const { posthaste, db } = all
  await db.pool.query('select posthaste.relay_cycle(1000, true)')
  const sql = workInSql(db.url)
  posthaste.consumer('jobs', { concurrency: 2, batchSize: 2 }).on(Job, async ({ id, payload }, { tx }) => {
    await tx.query(`insert into effects values ('typescript', $1, $2)`, [payload.n, id])
  })
  await posthaste.start()
  await sql
  await settled(all)
})

test.skipIf(noPsql)('psql works beside TypeScript on one queue, each message once', async () => {
  const all = await jobs()
  const { posthaste, db } = all
  await db.pool.query('select posthaste.relay_cycle(1000, true)')
  const some = `
    begin;
    with received as (select * from posthaste.receive('jobs', 5, '30 seconds')),
    effect as (insert into effects select 'psql', (payload ->> 'n')::int, message_id from received)
    select posthaste.complete(lease_id, token, position) from received;
    commit;`
  expect((await psql(db.url, some)).split('\n')).toEqual(['t', 't', 't', 't', 't'])
  posthaste.consumer('jobs', { concurrency: 2, batchSize: 2 }).on(Job, async ({ id, payload }, { tx }) => {
    await tx.query(`insert into effects values ('typescript', $1, $2)`, [payload.n, id])
  })
  await posthaste.start()
  await psql(db.url, some.repeat(4))
  expect(await settled(all)).toEqual(['psql', 'typescript'])
})

test.skipIf(noPsql)(
  'psql publishes, retries, dead-letters, extends and discards by the token of its lease',
  async () => {
    const { posthaste, db } = await jobs(0)
    const id = await psql(
      db.url,
      `select posthaste.publish('', 'jobs', '{"n": 1}', type => 'job', dedupe_key => 'one');`,
    )
    await psql(db.url, `select posthaste.publish('', 'jobs', '{"n": 2}', type => 'job');`)
    await db.pool.query('select posthaste.relay_cycle(1000, true)')
    expect(await psql(db.url, `select posthaste.backlog('jobs');`)).toBe('2')
    const answers = await psql(
      db.url,
      `select lease_id, token, position, message_id from posthaste.receive('jobs', 1, '1 minute') \\gset one_
     select posthaste.extend(:one_lease_id, :'one_token', '5 minutes') > now() + '4 minutes';
     select posthaste.retry(:one_lease_id, :'one_token', :one_position, '0 s', 'not now');
     select count(*) from posthaste.relay_cycle(1000, true);
     select lease_id, token, position, message_id from posthaste.receive('jobs') \\gset two_
     select posthaste.dead_letter(:two_lease_id, :'two_token', :two_position, 'unknown customer');
     select lease_id, token, position, attempt from posthaste.receive('jobs') \\gset three_
     select :three_attempt;
     select posthaste.discard(:three_lease_id, :'three_token', :three_position);
     select posthaste.backlog('jobs');`,
    )
    expect(answers.split('\n').filter((line) => line !== '')).toEqual(['t', '1', '2', '0'])
    expect(await posthaste.deadLetters.list()).toMatchObject([{ reason: 'unknown customer', queue: 'jobs' }])
    expect((await posthaste.trace(id))!.deliveries).toMatchObject([{ history: [{ message: 'not now' }] }])
    expect(unaccounted(await posthaste.audit())).toEqual([])
  },
)

test.skipIf(noPsql)('a lease of psql that has lapsed settles nothing: the message is another consumer’s', async () => {
  const { posthaste, db, publish } = await jobs(0)
  await publish(Job.create({ n: 1 }))
  await db.pool.query('select posthaste.relay_cycle(1000, true)')
  const [lease, token, position] = (
    await psql(db.url, `select lease_id, token, position from posthaste.receive('jobs', 1, '1 ms');`)
  ).split('|')
  const seen: number[] = []
  posthaste.consumer('jobs').on(Job, ({ attempt }) => void seen.push(attempt))
  await posthaste.start()
  await until(() => seen.length === 1)
  for (const call of ['complete', 'retry', 'discard', 'dead_letter']) {
    const words = call === 'dead_letter' ? `, 'no'` : ''
    const late = psql(db.url, `select posthaste.${call}(${lease}, '${token}', ${position}${words});`)
    await expect(late).rejects.toThrow('its lease has lapsed')
  }
  await expect(psql(db.url, `select posthaste.extend(${lease}, '${token}');`)).rejects.toThrow('has lapsed')
  expect(seen).toEqual([2])
})

test.skipIf(noPython)('Python works beside TypeScript on one queue, each message once', async () => {
  const all = await jobs()
  const { posthaste, db } = all
  await db.pool.query('select posthaste.relay_cycle(1000, true)')
  const python = run(PYTHON, ['-c', PYTHON_WORKER, db.url])
  await until(async () => (await db.pool.query('select from effects')).rows.length > 0)
  posthaste.consumer('jobs', { concurrency: 1, batchSize: 1 }).on(Job, async ({ id, payload }, { tx }) => {
    await tx.query(`insert into effects values ('typescript', $1, $2)`, [payload.n, id])
  })
  await posthaste.start()
  await python
  expect(await settled(all)).toContain('python')
})

test('a lease for no time, and more than a call may ask for, are refused in SQL', async () => {
  const { db } = await jobs(0)
  for (const args of [`'jobs', 1, '0 s'`, `'jobs', 1, '-1 s'`, `'jobs', 0`, `'jobs', 1001`, `'jobs', 1, null`])
    await expect(db.pool.query(`select * from posthaste.receive(${args})`), args).rejects.toMatchObject({
      code: 'PH001',
    })
  await expect(db.pool.query(`select * from posthaste.receive('nobody')`)).rejects.toMatchObject({ code: 'PH003' })
  await expect(db.pool.query(`select posthaste.backlog('nobody')`)).rejects.toMatchObject({ code: 'PH003' })
  const token = '0197a3f0-7c1e-7cc3-8f57-0e6d1b2c3d4e'
  await expect(db.pool.query(`select posthaste.extend(1, $1, '-1 s')`, [token])).rejects.toMatchObject({
    code: 'PH001',
  })
  await expect(db.pool.query(`select posthaste.retry(1, $1, 1, '-1 s')`, [token])).rejects.toMatchObject({
    code: 'PH001',
  })
})
