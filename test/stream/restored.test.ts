import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import { createDatabase, lonelyServer, noLonelyServer } from '../support/database.ts'
import { until } from '../support/until.ts'
import { bench, disordered, EFFECT } from './bench.ts'
import { moveData } from './moved.ts'

vi.setConfig({ testTimeout: 120_000 })

async function publish(on: pg.Pool | pg.Client, exchange: string, count: number, from: number, account?: string) {
  const messages = Array.from({ length: count }, (_, i) => {
    const [n, of] = [from + i, account ?? `a${(from + i) % 10}`]
    return { id: randomUUID(), exchange, type: 'moved', key: of, payload: { n, account: of } }
  })
  await on.query('select count(*) from posthaste.publish_all($1::text)', [JSON.stringify(messages)])
  return messages.map(({ id }) => id)
}

test.skipIf(noLonelyServer)(
  'in another cluster, where xids begin anew, groups in the middle of the log lose nothing and get nothing twice',
  async () => {
    const old = await createDatabase()
    onTestFinished(() => old.drop())
    const { stream, exchange, topology, Moved, process } = await bench({ retry: { maxAttempts: 50, maxMs: 50 } }, old)
    const [ahead, behind, untouched] = [`${stream}-ahead`, `${stream}-behind`, `${stream}-untouched`]
    const groups = [ahead, behind, untouched]
    const consume = (
      on: Posthaste<pg.PoolClient>,
      group: string,
      { most = Number.POSITIVE_INFINITY, refuses = false } = {},
    ) => {
      let seen = 0
      on.consumer(stream, { group, concurrency: 3, batchSize: 10 }).on(
        Moved,
        async ({ id, payload }, { tx, signal }) => {
          seen += 1
          if (seen > most) await new Promise((_, reject) => signal.addEventListener('abort', reject))
          if (refuses && payload.account === 'a3') throw new Error('refused')
          await tx.query(EFFECT, [group, id, payload.account, payload.n])
        },
      )
    }
    const effects = async (on: pg.Pool, group: string): Promise<{ message_id: string; account: string; n: number }[]> =>
      (await on.query('select message_id, account, n from effects where grp = $1 order by seq', [group])).rows

    // xids there are far above those of a new cluster
    await old.pool.query('do $$ begin for n in 1..3000 loop perform pg_current_xact_id(); commit; end loop; end $$')
    const first = process()
    consume(first, ahead, { refuses: true })
    consume(first, behind, { most: 120 })
    const published: string[] = []
    await first.declare()
    const late = new pg.Client({ connectionString: old.url })
    onTestFinished(() => late.end())
    await late.connect()
    await late.query('begin')
    published.push(...(await publish(late, exchange, 1, 0, 'late')))
    await first.start()
    for (let from = 0; from < 300; from += 50) published.push(...(await publish(old.pool, exchange, 50, from)))
    await until(async () => (await effects(old.pool, ahead)).length === 270, { timeoutMs: 30_000 })
    await until(async () => (await effects(old.pool, behind)).length >= 60, { timeoutMs: 30_000 })
    await first.stop({ timeoutMs: 0 })
    expect((await effects(old.pool, behind)).length).toBeLessThan(300)
    await late.query('commit')
    published.push(...(await publish(old.pool, exchange, 40, 300)))

    const server = await lonelyServer()
    onTestFinished(() => server.stop())
    const xid = 'select pg_current_xact_id()::text::bigint as xid'
    const [here, there] = [await server.pool.query(xid), await old.pool.query(xid)]
    expect(Number(here.rows[0].xid)).toBeLessThan(Number(there.rows[0].xid))
    await server.pool.query(
      'create table effects (seq bigint generated always as identity, grp text, message_id uuid, account text, n int)',
    )
    await moveData(old.pool, server.pool, ['posthaste', 'public'])

    const own = new pg.Pool({ connectionString: server.url, max: 20 })
    own.on('error', () => {})
    const second = new Posthaste({ database: pgDatabase(own), topology })
    onTestFinished(async () => {
      await second.stop({ timeoutMs: 0 })
      await own.end()
    })
    for (const group of groups) consume(second, group)
    const rebased = second.until('routed', undefined, { timeoutMs: 60_000 })
    await second.start()
    await rebased
    await second.stream(stream).group(ahead).release()
    published.push(...(await publish(server.pool, exchange, 120, 340)))
    for (const group of groups) {
      const all = async () => (await effects(server.pool, group)).length >= published.length
      await until(all, { timeoutMs: 60_000, what: `${published.length} effects of ${group}` })
      const done = await effects(server.pool, group)
      expect(done.map(({ message_id }) => message_id).toSorted()).toEqual(published.toSorted())
      expect(disordered(done)).toEqual([])
    }
    const read: string[] = []
    for await (const { id } of second.stream(stream).read({ from: 'earliest', follow: false })) read.push(id)
    expect(read.toSorted()).toEqual(published.toSorted())
    const settled = async () => (await second.stream(stream).groups()).every(({ lag, parked }) => lag + parked === 0)
    await until(settled, { timeoutMs: 30_000 })
    expect((await second.audit()).difference).toBe(0)
  },
)
