import type pg from 'pg'
import { readIntents } from './record.ts'
import type { Service } from './shop.ts'

/** What plain SQL and the producers' record say in the end. All but the counts of orders and effects ought to be 0. */
export interface Findings {
  /** By the producers' knowledge; together they are all the intents. */
  readonly orders: { readonly committed: number; readonly rolledBack: number; readonly unknown: number }
  readonly effects: { readonly [Name in Service]: number }
  /** Committed orders that are not there, lack lines, an effect of a service or their entry in the ledger; units sold and not taken from the stock. */
  readonly lost: number
  /** Effects, entries or orders beyond the one that each may have; units taken from the stock and not sold. */
  readonly duplicates: number
  /** Effects, entries or lines of orders that are not there, orders that were rolled back, effects of messages that nobody meant. */
  readonly phantoms: number
  /** Units sold beyond what was in stock. */
  readonly oversold: number
  readonly refused: number
  readonly throughputPerSecond: number
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly p99: number }
}

/** Compares what producers meant with what the tables hold, in one snapshot. */
export async function auditShop(pool: pg.Pool, record: string): Promise<Findings> {
  const client = await pool.connect()
  try {
    await loadIntents(client, record)
    await client.query('begin isolation level repeatable read')
    const { rows } = await client.query(FINDINGS)
    await client.query('commit')
    return rows[0].findings as Findings
  } finally {
    client.release(true)
  }
}

async function loadIntents(client: pg.PoolClient, record: string): Promise<void> {
  await client.query('create temp table intents (order_id bigint, message_id uuid, total_cents bigint, outcome text)')
  await client.query(
    `insert into intents
     select (i ->> 'order')::bigint, (i ->> 'messageId')::uuid, (i ->> 'totalCents')::bigint, i ->> 'outcome'
     from json_array_elements($1::json) i`,
    [JSON.stringify(await readIntents(record))],
  )
  await client.query('analyze intents, shop.orders, shop.order_lines, shop.effects, shop.ledger, shop.stock')
}

// Each line counts one kind of mistake: what should be there and is not, or is there and should not be.
const FINDINGS = `
with
  services as (select unnest(array['billing', 'inventory', 'notifications']) as service),

  lines as (select order_id, sum(cents) as cents from shop.order_lines group by order_id),
  reserved as (select distinct order_id from shop.effects where service = 'inventory' and outcome = 'reserved'),
  stock as (
    select k.article, k.stocked, k.remaining, coalesce(sum(l.quantity), 0) as sold
    from shop.stock k
    left join (shop.order_lines l join reserved using (order_id)) on l.article = k.article
    group by k.article, k.stocked, k.remaining
  ),

  lost as (
    select count(*) as n from intents i
    where i.outcome = 'committed' and not exists (select from shop.orders o where o.id = i.order_id)
    union all
    select count(*) from shop.orders o cross join services s
    where not exists (select from shop.effects e where e.order_id = o.id and e.service = s.service)
    union all
    select count(*) from shop.orders o
    where not exists (select from shop.ledger l where l.order_id = o.id and l.cents = o.total_cents)
      and exists (select from shop.effects e where e.order_id = o.id and e.service = 'billing')
    union all
    select count(*) from shop.orders o left join lines l on l.order_id = o.id
    where o.total_cents is distinct from l.cents
    union all
    select coalesce(sum(greatest(sold - (stocked - remaining), 0)), 0) from stock
  ),

  duplicates as (
    select count(*) - count(distinct (service, order_id)) as n from shop.effects
    union all
    select count(*) - count(distinct order_id) from shop.ledger
    union all
    select count(*) - count(distinct id) from shop.orders
    union all
    select coalesce(sum(greatest(stocked - remaining - sold, 0)), 0) from stock
  ),

  phantoms as (
    select count(*) as n from shop.effects e
    where not exists (select from shop.orders o where o.id = e.order_id)
    union all
    select count(*) from shop.ledger l
    where not exists (select from shop.orders o where o.id = l.order_id)
    union all
    select count(*) from shop.order_lines l
    where not exists (select from shop.orders o where o.id = l.order_id)
    union all
    select count(*) from shop.orders o
    where not exists (select from intents i where i.order_id = o.id and i.outcome <> 'rolledBack' and i.total_cents = o.total_cents)
    union all
    select count(*) from shop.effects e
    where exists (select from shop.orders o where o.id = e.order_id)
      and not exists (select from intents i where i.order_id = e.order_id and i.message_id = e.message_id)
  ),


  waits as (
    select extract(epoch from e.at - o.placed_at) * 1000 as ms, e.at
    from shop.effects e join shop.orders o on o.id = e.order_id
  ),
  percentiles as (
    select percentile_cont(array[0.5, 0.95, 0.99]) within group (order by ms) as p from waits
  )

select json_build_object(
  'orders', (select json_build_object(
    'committed', count(*) filter (where outcome = 'committed'),
    'rolledBack', count(*) filter (where outcome = 'rolledBack'),
    'unknown', count(*) filter (where outcome = 'unknown')) from intents),
  'effects', (select json_build_object(
    'billing', count(*) filter (where service = 'billing'),
    'inventory', count(*) filter (where service = 'inventory'),
    'notifications', count(*) filter (where service = 'notifications')) from shop.effects),
  'lost', (select sum(n) from lost),
  'duplicates', (select sum(n) from duplicates),
  'phantoms', (select sum(n) from phantoms),
  'oversold', (select coalesce(sum(greatest(sold - stocked, -remaining, 0)), 0) from stock),
  'refused', (select count(*) from shop.effects where service = 'inventory' and outcome = 'refused'),
  'throughputPerSecond', (
    select coalesce(round(((select count(*) from shop.orders) / nullif(extract(epoch from
      (select max(at) from shop.effects) - (select min(placed_at) from shop.orders)), 0))::numeric, 1), 0)),
  'latencyMs', (select json_build_object(
    'p50', round(p[1]::numeric, 1), 'p95', round(p[2]::numeric, 1), 'p99', round(p[3]::numeric, 1)) from percentiles)
) as findings`
