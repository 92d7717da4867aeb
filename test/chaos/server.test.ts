import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createDatabase, lonelyServer, noLonelyServer } from '../support/database.ts'
import { seeded } from '../support/random.ts'
import { until } from '../support/until.ts'
import { judge, place, type Shop, serve, shopOn, TABLES } from './shop.ts'

const SEED = Number(process.env.SEED ?? Date.now() % 100_000)

describe.skipIf(noLonelyServer)('a server that crashes', () => {
  it.concurrent.each(['SIGQUIT', 'SIGKILL'] as const)(
    '%s to the postmaster: everything reconnects, and what was committed takes effect once',
    async (signal) => {
      await using lonely = await lonelyServer({ settings: { fsync: 'on' } })
      await lonely.pool.query(TABLES)
      const shop = shopOn(lonely.url)
      serve(shop)
      await shop.posthaste.start()
      const producing = produce(shop)

      await until(async () => (await judge(lonely.pool)).orders > 50, {
        timeoutMs: 10_000,
        what: 'orders before the crash',
      })
      await lonely.server.crash(signal)
      await lonely.server.restart()
      const before = (await judge(lonely.pool)).orders
      await until(async () => (await judge(lonely.pool)).orders > before + 50, {
        timeoutMs: 20_000,
        what: 'orders after the crash',
      })
      await producing.stop()
      await until(async () => (await judge(lonely.pool)).waiting === 0, {
        timeoutMs: 20_000,
        what: 'the queues to be empty',
      })

      expect(await judge(lonely.pool)).toMatchObject({ lost: 0, doubled: 0, phantom: 0, difference: 0 })
      await shop.close()
    },
    90_000,
  )
})

it(`backends are terminated at random: nothing is lost, doubled or charged (seed ${SEED})`, async () => {
  await using database = await createDatabase()
  await database.pool.query(TABLES)
  const shop = shopOn(database.url)
  serve(shop)
  await shop.posthaste.start()
  const producing = produce(shop)
  const random = seeded(SEED)

  for (let terminated = 0; terminated < 40; ) {
    await sleep(random() * 100) // the moment is what the seed decides
    const { rows } = await database.pool.query(
      `select pid, pg_terminate_backend(pid) from (
         select pid from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
         order by pid offset $1 limit 1) victim`,
      [Math.floor(random() * 12)],
    )
    terminated += rows.length
  }
  await producing.stop()
  await until(async () => (await judge(database.pool)).waiting === 0, {
    timeoutMs: 30_000,
    what: 'the queues to be empty',
  })

  expect(await judge(database.pool)).toMatchObject({ lost: 0, doubled: 0, phantom: 0, difference: 0 })
  const { rows } = await database.pool.query('select count(*)::int as dead from posthaste.dead_letters')
  expect(rows[0].dead).toBe(0)
  await shop.close()
}, 90_000)

/** Places orders until it is stopped, whatever happens to the server meanwhile. */
function produce(shop: Shop) {
  let order = 0
  let open = true
  const loops = [1, 2].map(async () => {
    while (open) {
      order += 1
      await place(shop, order).catch(() => sleep(20))
      await sleep(2)
    }
  })
  return {
    async stop() {
      open = false
      await Promise.all(loops)
    },
  }
}
