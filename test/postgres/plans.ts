import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { expect } from 'vitest'
import { chargeCrashes, claimAgain, lowestReady, suspects } from '../../src/postgres/claim.ts'
import { beginEffectCall, claimEffect, endEffectCall, recordEffect } from '../../src/postgres/effects.ts'
import { lookAtQueues } from '../../src/postgres/flow.ts'
import { recoverLeases } from '../../src/postgres/relay.ts'
import { restore } from '../../src/postgres/restore.ts'
import { BOTTOM, SKY } from '../../src/rules/position.ts'
import { type Bench, claimOn, publishAll, run, settleOn, t, transaction } from './bench.ts'

/** Runs the work on a connection that tells the plan of every statement, those inside functions too; answers the plans. */
export async function plansOf(client: pg.Client, work: () => Promise<unknown>): Promise<string[]> {
  const plans: string[] = []
  const hear = ({ message = '' }: { message?: string | undefined }) => {
    if (message.includes('plan:')) plans.push(message)
  }
  await client.query(`
    load 'auto_explain';
    set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on; set client_min_messages = log`)
  client.on('notice', hear)
  try {
    await work()
  } finally {
    client.off('notice', hear)
    await client.query(`set auto_explain.log_min_duration = -1; set client_min_messages = notice`)
  }
  return plans
}

/** The scans of plans, as "Index Scan using ready_pkey on ready". */
export function scansOf(plans: readonly string[]): string[] {
  return plans
    .flatMap((plan) => plan.split('\n'))
    .map((line) =>
      line
        .trim()
        .replace(/^-> +/, '')
        .replace(/ +\(cost.*$/, ''),
    )
    .filter((line) => / Scan (Backward )?(using|on) /.test(line) && !/^(CTE|Function|Subquery|Values) Scan/.test(line))
}

/** The relations that the transaction of a connection has locked. */
export async function lockedBy(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query(`
    select relation::regclass::text as name from pg_locks
    where pid = pg_backend_pid() and locktype = 'relation' and relation > 16384 order by 1`)
  return rows.map((row) => row.name.replaceAll('posthaste.', ''))
}

/** Tables that nobody vacuums or analyses but the test. */
export async function leaveAlone(b: Bench): Promise<void> {
  await b.pool.query(`
    do $$
    declare name text;
    begin
      for name in select c.oid::regclass from pg_class c where c.relnamespace = 'posthaste'::regnamespace and c.relkind = 'r' loop
        execute format('alter table %s set (autovacuum_enabled = off)', name);
      end loop;
    end $$`)
}

/** Thirty-one partitions. */
export async function manyPartitions(b: Bench): Promise<void> {
  for (let n = 0; n < 28; n += 1) {
    await b.pool.query(`select setval('posthaste.outbox_id', (select max(from_id) - 100 from posthaste.partitions))`)
    await b.pool.query('select posthaste.make_partitions(0)')
  }
}

/** A history of so many messages, all routed, and deliveries that wait. */
export async function history(b: Bench, n: number): Promise<void> {
  await b.pool.query(
    `with top as (select max(from_id) - 1000 as id from posthaste.partitions)
     insert into posthaste.outbox (id, message_id, exchange, routing_key, type, payload)
     select 1 + (n * (select id from top) / $1), gen_random_uuid(), '', $2, 't', '{}' from generate_series(0, $1 - 1) n`,
    [n, b.queue],
  )
  await b.pool.query(`select setval('posthaste.outbox_id', (select max(id) from posthaste.outbox))`)
  await b.pool.query(`
    with top as (
      insert into posthaste.ticks (number, snapshot, top_id)
      select max(number) + 1, pg_current_snapshot(), (select max(id) from posthaste.outbox) from posthaste.ticks returning number
    )
    insert into posthaste.positions (reader, tick, id, system_identifier)
    select 'router', number, 9223372036854775807, (select system_identifier from pg_control_system()) from top`)
  await b.pool.query(
    `insert into posthaste.ready (queue, priority, message, message_id) select $1, 9, id, message_id from posthaste.outbox order by id`,
    [b.number],
  )
  await b.pool.query(
    `insert into posthaste.scheduled (due_at, queue, priority, message, message_id)
     select clock_timestamp() + n * interval '1 s', $2, 9, 1, gen_random_uuid() from generate_series(1, $1) n`,
    [n / 10, b.number],
  )
  await b.pool.query(
    `insert into posthaste.inbox (message_id, consumer) select posthaste.uuid_v7(), 'history' from generate_series(1, $1) n`,
    [n / 10],
  )
  await b.pool.query(
    `insert into posthaste.tally (scope, name, counter, n) select 'queue', $2, 'completed', 0 from generate_series(1, $1) n`,
    [n / 10, b.queue],
  )
  await b.pool.query('select posthaste.fold_tally()')
}

export async function analysed(b: Bench): Promise<void> {
  await b.pool.query('vacuum analyze')
}

/** Messages that wait to be routed. */
export async function backlog(b: Bench, n: number): Promise<void> {
  for (let left = n; left > 0; left -= 5_000) {
    await b.pool.query(
      `insert into posthaste.outbox (message_id, exchange, routing_key, type, payload)
       select gen_random_uuid(), '', $2, 't', '{}' from generate_series(1, $1) n`,
      [Math.min(left, 5_000), b.queue],
    )
  }
}

const GROWS =
  '(outbox_p|ready|scheduled|tally|ticks|positions|leases|settled|inbox_d|dedupe|effects|effect_attempts|requests)'
const LARGE = new RegExp(`(Seq Scan on|Sort) ${GROWS}`)
const WALK = new RegExp(`Index (Only )?Scan (Backward )?using \\S+ on ${GROWS}`)

/** The scans that walk the whole of an index, for a join. */
function walksOf(plans: readonly string[]): string[] {
  const walks: string[] = []
  for (const plan of plans) {
    const lines = plan.split('\n')
    const depth = (line: string) => line.search(/\S/)
    lines.forEach((line, n) => {
      if (!WALK.test(line)) return
      const next = lines.slice(n + 1).findIndex((below) => depth(below) <= depth(line))
      const facts = lines.slice(n + 1, next < 0 ? undefined : n + 1 + next)
      if (facts.some((fact) => fact.includes('Index Cond'))) return
      if (
        parentsOf(lines, n, depth)
          .find((parent) => /Limit|Join|Nested Loop/.test(parent))
          ?.includes('Limit') === false
      )
        walks.push(line.trim())
    })
  }
  return walks
}

// From the innermost outwards.
function parentsOf(lines: readonly string[], n: number, depth: (line: string) => number): string[] {
  const parents: string[] = []
  let deep = depth(lines[n]!)
  for (let m = n - 1; m >= 0; m -= 1) {
    if (depth(lines[m]!) >= deep || !/->|\(cost/.test(lines[m]!)) continue
    parents.push(lines[m]!)
    deep = depth(lines[m]!)
  }
  return parents
}

/** Each hot statement, more often than a generic plan takes to be considered. */
export async function checkPlans(b: Bench): Promise<void> {
  const client = await b.connect()
  const planned = (work: () => Promise<unknown>) => plannedOnce(() => often(work))
  const plannedOnce = async (work: () => Promise<unknown>) => {
    const plans = await plansOf(client, work)
    const scans = scansOf(plans)
    expect(scans.length).toBeGreaterThan(0)
    expect(scans.filter((scan) => LARGE.test(scan))).toEqual([])
    expect(walksOf(plans)).toEqual([])
    // a join that is no condition of an index reads all of a queue for each row
    expect(plans.flatMap((plan) => plan.match(/Join Filter: .*position.*/g) ?? [])).toEqual([])
    return scans
  }

  const outbox = (scan: string) => / on outbox_p| using outbox_p/.test(scan)
  const topId = (scan: string) => scan.startsWith('Index Only Scan Backward')
  const byId = /^Index (Only )?Scan using outbox_p\d+_pkey/
  const byXid =
    /^Bitmap (Index Scan on outbox_p\d+_xid_id_idx|Heap Scan on outbox_p)|^Index (Only )?Scan using outbox_p\d+_xid_id_idx/
  for (let n = 0; n < 8; n += 1) {
    await b.publishMany(b.pool, 3)
    const between = await plannedOnce(() => b.cycle({ on: client, chunk: 2 }))
    // A backlog begins within one partition, whose few rows below may be read by their ids; all others are read by xid.
    const strays = between.filter((scan) => outbox(scan) && !topId(scan) && !byXid.test(scan))
    expect(new Set(strays).size, strays.join('\n')).toBeLessThanOrEqual(1)
    const amid = await plannedOnce(() => b.cycle({ on: client, chunk: 2 }))
    expect(amid.filter((scan) => outbox(scan) && !topId(scan) && !byId.test(scan) && !byXid.test(scan))).toEqual([])
    await b.drain(10_000)
  }

  const claims = await planned(() =>
    transaction(client, async () =>
      settleOn(client, b.number, await claimOn(client, b.number, 2), { kind: 'retry', delayMs: 0 }),
    ),
  )
  const ready = /^(Index Scan using ready_pkey|Tid Scan) on ready/
  expect(claims.filter((scan) => / on ready/.test(scan) && !ready.test(scan))).toEqual([])
  expect(
    new Set(claims.filter(outbox).map((scan) => scan.replace(/.* on (outbox_p\d+).*/, '$1'))).size,
  ).toBeLessThanOrEqual(2)

  const alone = await planned(() => client.query('select * from posthaste.claim_alone($1, $2)', [b.number, b.queue]))
  expect(alone).toContain('Index Scan using ready_charged on ready r')

  const again = { queue: b.number, consumer: b.queue, rows: [{ priority: 9, position: '1' }] }
  await planned(() => run(client, claimAgain(t, again)))
  await planned(() => run(client, chargeCrashes(t, { ...again, maxCrashes: 3 })))
  await planned(() => run(client, restore(t, again)))
  await planned(() => run(client, suspects(t, { ...again, limit: 5, from: BOTTOM, below: SKY })))
  await planned(() => client.query(`select * from posthaste.receive($1, 2)`, [b.queue]))
  await planned(() => client.query('select * from posthaste.backlog($1)', [b.queue]))
  await planned(() => run(client, lowestReady(t, { queue: b.number, from: BOTTOM })))
  await planned(() => run(client, lookAtQueues(t, { queues: [b.number], grounds: BOTTOM })))
  await planned(() => run(client, recoverLeases(t, { limit: 10 })))

  await planned(() => settleInSql(b, client))
  await planned(() => publishAll(client, { routing_key: b.queue, dedupe_key: randomUUID() }))
  await planned(() => request(client, b.queue))
  await planned(() => effect(client))
}

/** What another language does with what it has received. */
async function settleInSql(b: Bench, client: pg.Client): Promise<void> {
  await b.publishMany(b.pool, 2)
  await b.drain(10_000)
  const { rows } = await client.query('select lease_id, token, position from posthaste.receive($1, 2)', [b.queue])
  const [one, other] = rows.map(({ lease_id, token, position }) => [lease_id, token, position])
  await client.query('select posthaste.complete($1, $2, $3)', one)
  await client.query(`select posthaste.retry($1, $2, $3, interval '0')`, other)
}

async function request(client: pg.Client, queue: string): Promise<void> {
  const id = randomUUID()
  await client.query('select posthaste.open_request($1, $2, 1000)', [id, 'requester'])
  await client.query(`select posthaste.reply($1, $2, '{}')`, [id, queue])
  await client.query('select posthaste.take_replies(array[$1::uuid])', [id])
}

async function effect(client: pg.Client): Promise<void> {
  const held = { operation: randomUUID(), token: '1', worker: 'one' }
  const call = { ...held, call: randomUUID(), leaseMs: 10_000 }
  const providerKey = randomUUID()
  const asked = { kind: 'keyed', provider: 'acme', fingerprint: '', providerKey, windowMs: 60_000 } as const
  const answer = { event: 'answered', outcome: 'succeeded', reason: undefined, status: 200, response: '{}' } as const
  await run(client, claimEffect(t, { ...call, ...asked, claim: randomUUID() }))
  await run(client, beginEffectCall(t, { ...call, marginMs: 1, notAfter: undefined }))
  await run(client, endEffectCall(t, { ...call, ...answer, providerKey, sealed: false, release: false }))
  await run(client, recordEffect(t, held))
}

async function often(work: () => Promise<unknown>): Promise<void> {
  for (let n = 0; n < 8; n += 1) await work()
}
