import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { expect, test } from 'vitest'
import { createDatabase } from '../support/database.ts'
import { seeded } from '../support/random.ts'
import { until } from '../support/until.ts'
import { bench, disordered, EFFECT } from './bench.ts'

// Numbers of an account are taken under its row lock, so they are in the order of commits.
const SEED = 7

test(`writers that commit late, nest, prepare and roll back, while readers come and go: all that was committed, once, in order (seed ${SEED})`, async () => {
  await using database = await createDatabase()
  const b = await bench({ retry: { maxAttempts: 50, minMs: 1, maxMs: 20 } }, database)
  await b.pool.query('create table accounts as select id, 0 as n from generate_series(0, 19) id')
  const random = seeded(SEED)
  const committed = new Set<string>()
  const writers = new pg.Pool({ connectionString: b.url, max: 24 })
  writers.on('error', () => {})
  const over = performance.now() + 3_500

  const say = async (client: pg.PoolClient, chance: () => number, ids: string[]) => {
    const account = Math.floor(chance() * 20)
    const { rows } = await client.query('update accounts set n = n + 1 where id = $1 returning n', [account])
    const { rows: said } = await client.query(
      `select p.id from posthaste.publish_all(json_build_array(json_build_object(
         'id', posthaste.uuid_v7(), 'exchange', $1::text, 'type', 'moved', 'key', 'a' || $2::int, 'payload',
         json_build_object('n', $3::int, 'account', 'a' || $2::int)))::text) p`,
      [b.exchange, account, rows[0].n],
    )
    ids.push(said[0].id)
  }
  const write = async (seed: number) => {
    const chance = seeded(seed)
    const client = await writers.connect()
    while (performance.now() < over) {
      const ids: string[] = []
      await client.query('begin; set local posthaste.wake = off; set local lock_timeout = 3000')
      try {
        await say(client, chance, ids)
        if (chance() < 0.3) {
          await client.query('savepoint inner_one')
          const inner: string[] = []
          await say(client, chance, inner)
          if (chance() < 0.5) await client.query('rollback to inner_one')
          else ids.push(...inner)
        }
        if (chance() < 0.05) await sleep(chance() * 500)
        const dice = chance()
        if (dice < 0.8) await client.query('commit')
        else if (dice < 0.9) {
          await client.query('rollback')
          continue
        } else {
          const name = `${seed}_${Math.floor(chance() * 1e9)}`
          await client.query(`prepare transaction '${name}'`)
          await sleep(chance() * 50)
          await writers.query(`commit prepared '${name}'`)
        }
        for (const id of ids) committed.add(id)
      } catch {
        await client.query('rollback')
      }
    }
    client.release()
  }

  const read = async () => {
    const process = b.process({ max: 8 })
    process.consumer(b.stream, { batchSize: 20, concurrency: 3 }).on(b.Moved, async ({ id, payload }, { tx }) => {
      await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
      if (random() < 0.01) throw new Error('now and then')
    })
    await process.start()
    return process
  }
  const first = await read()
  const comingAndGoing = async () => {
    while (performance.now() < over) {
      const process = await read()
      await sleep(random() * 1_500)
      await process.stop({ timeoutMs: random() < 0.5 ? 0 : 5_000 })
    }
  }
  await Promise.all([...Array.from({ length: 16 }, (_, n) => write(SEED + n)), comingAndGoing()])
  await b.handled(committed.size, b.stream, 30_000)
  await until(async () => (await first.stream(b.stream).group().status()).lag === 0)
  const effects = await b.effects()
  const seen = effects.map(({ message_id }) => message_id)
  expect(seen.filter((id) => !committed.has(id))).toEqual([])
  expect([...committed].filter((id) => !seen.includes(id))).toEqual([])
  expect(seen.length).toBe(new Set(seen).size)
  expect(disordered(effects)).toEqual([])
  expect(committed.size).toBeGreaterThan(20)
  await Promise.all([writers.end(), first.stop()])
}, 90_000)

test('a transaction that stays open, also in another database, delays nobody but its own messages', async () => {
  await using other = await createDatabase()
  const b = await bench()
  const process = b.process()
  process.consumer(b.stream).on(b.Moved, async ({ id, payload }, { tx }) => {
    await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
  })
  await process.start()
  const [here, there] = [new pg.Client({ connectionString: b.url }), new pg.Client({ connectionString: other.url })]
  await Promise.all([here.connect(), there.connect()])
  await there.query('begin; select pg_current_xact_id()')
  await here.query('begin')
  await here.query('select posthaste.publish($1, $2, $3, type => $4, key => $5)', [
    b.exchange,
    'late',
    JSON.stringify({ n: 1_000, account: 'late' }),
    'moved',
    'late',
  ])
  await b.publish(300)
  await b.handled(300)
  expect((await b.effects()).some(({ account }) => account === 'late')).toBe(false)
  await here.query('commit')
  await b.handled(301)
  expect((await b.effects()).at(-1)).toMatchObject({ account: 'late', n: 1_000 })
  await there.query('rollback')
  await Promise.all([here.end(), there.end()])
})
