import type pg from 'pg'
import { chargeCrashes, suspects } from '../../src/postgres/claim.ts'
import { purgeDeadLetters, redrive } from '../../src/postgres/dead-letters.ts'
import { lease, releaseLeased, settleLeased } from '../../src/postgres/leases.ts'
import { recoverLeases } from '../../src/postgres/relay.ts'
import { settle } from '../../src/postgres/settle.ts'
import { BOTTOM, SKY } from '../../src/rules/position.ts'
import { seeded } from '../support/random.ts'
import { type Bench, claimOn, GROUND, pick, run, settledAs, t } from './bench.ts'
import { upkeep } from './partitions.ts'

export interface BustleOptions {
  readonly seed: number
  readonly durationMs: number
  /** Whether partitions are passed, emptied and dropped meanwhile. */
  readonly retention: boolean
}

type Actor = (client: pg.Client, random: () => number) => Promise<unknown>

const KINDS = ['completed', 'completed', 'retry', 'dead', 'expired', 'discarded'] as const

/** Everybody at once: publishers, relays, consumers of every mode, upkeep, operators. Resolves when all have gone home. */
export async function bustle(b: Bench, { seed, durationMs, retention }: BustleOptions): Promise<void> {
  const until = performance.now() + durationMs
  const actors = [...actorsOf(b), ...(retention ? [keeperOf(b)] : [])]
  await Promise.all(
    actors.map(async (act, n) => {
      const client = await b.connect()
      const random = seeded(seed * 100 + n)
      while (performance.now() < until) await act(client, random)
    }),
  )
}

function actorsOf(b: Bench): Actor[] {
  const facts = { queue: b.number, consumer: b.queue }
  const again = { delayMs: 0, history: [] }

  const publish: Actor = async (client, random) => {
    await client.query('begin')
    await b.publishMany(client, 1 + Math.floor(random() * 5), {
      routing_key: random() < 0.2 ? 'nowhere' : b.queue,
      priority: Math.floor(random() * 10),
    })
    if (random() < 0.3) await b.publishMany(client, 2, { delay_ms: Math.floor(random() * 50) })
    await client.query(random() < 0.1 ? 'rollback' : 'commit')
  }
  const relay: Actor = (client, random) =>
    b.cycle({ on: client, chunk: 1 + Math.floor(random() * 50), sweep: random() < 0.2 })
  const consume: Actor = async (client, random) => {
    await client.query('begin')
    const rows = await claimOn(client, b.number, 1 + Math.floor(random() * 10))
    const outcomes = rows.map((row) => settledAs(row, { kind: pick(random, KINDS), reason: 'because', ...again }))
    await run(client, settle(t, { ...facts, outcomes }))
    await client.query(random() < 0.1 ? 'rollback' : 'commit')
  }
  const work: Actor = async (client, random) => {
    const of = {
      ...facts,
      limit: 1 + Math.floor(random() * 8),
      leaseMs: 5 + random() * 60,
      floors: GROUND,
      holder: 'bustle',
    }
    const rows = await run(client, lease(t, of))
    if (rows.length === 0) return
    const outcomes = rows
      .filter(() => random() < 0.6)
      .map(({ delivery }) => settledAs(delivery, { kind: pick(random, KINDS), reason: 'because', ...again }))
    await run(client, settleLeased(t, { ...rows[0]!, consumer: b.queue, outcomes, inbox: true }))
    if (random() < 0.3)
      await run(client, releaseLeased(t, { ...rows[0]!, positions: rows.map(({ delivery }) => delivery.position) }))
  }
  const speakSql: Actor = async (client, random) => {
    const { rows } = await client.query(`select * from posthaste.receive($1, 3, '1 second')`, [b.queue])
    for (const { lease_id, token, position } of rows) {
      const call = pick(random, ['complete($1, $2, $3)', `retry($1, $2, $3, '0 s')`, `dead_letter($1, $2, $3, 'no')`])
      await client.query(`select posthaste.${call}`, [lease_id, token, position]).catch(() => {})
    }
  }
  const recover: Actor = (client) => run(client, recoverLeases(t, { limit: 5 }))
  const detect: Actor = async (client) => {
    const rows = await run(client, suspects(t, { queue: b.number, limit: 50, from: BOTTOM, below: SKY }))
    await run(client, chargeCrashes(t, { queue: b.number, rows, maxCrashes: 1 }))
  }
  const operate: Actor = async (client, random) => {
    const { rows } = await client.query(
      'select id from posthaste.dead_letters where queue = $1 order by random() limit 5',
      [b.number],
    )
    const ids = rows.map((row) => row.id)
    if (random() < 0.5) await run(client, purgeDeadLetters(t, { ids, queue: b.number, by: null }))
    else await run(client, redrive(t, { ids, queue: b.number, by: 'bustle', to: null, payload: null, dry: false }))
  }
  const fold: Actor = async (client) => {
    await upkeep(b, 'fold_tally()', client)
    await upkeep(b, 'trim_logs()', client)
  }
  return [publish, publish, relay, relay, consume, consume, work, speakSql, recover, detect, operate, fold]
}

function keeperOf(b: Bench): Actor {
  return async (client) => {
    await client.query(`select setval('posthaste.outbox_id', nextval('posthaste.outbox_id') + 150000)`)
    for (const step of ['make_partitions(0)', 'empty_partition(0)', 'trim_held()', 'drop_shells()'])
      await upkeep(b, step, client)
    await client.query(
      `update posthaste.partitions set emptied_at = emptied_at - interval '2 minutes' where emptied_at is not null`,
    )
  }
}
