import { describe, expect, test } from 'vitest'
import { seeded } from '../support/random.ts'
import { type Bench, bench, pick, uuid7 } from './bench.ts'
import { upkeep } from './partitions.ts'

const DAY_MS = 86_400_000
const RETENTION_MS = 8 * DAY_MS

/** A bench whose parts begin today: the database that it is a copy of may have been made yesterday. */
async function alone(): Promise<Bench> {
  const b = await bench({ alone: true })
  while (await upkeep(b, 'make_inbox_part()'));
  await b.pool.query(`
    do $$
    declare part posthaste.inbox_parts;
    begin
      for part in select * from posthaste.inbox_parts where from_day < '${day(0)}' order by from_day loop
        alter table posthaste.inbox detach partition posthaste.inbox_head;
        execute format('drop table posthaste.%I', part.name);
        delete from posthaste.inbox_parts where name = part.name;
        execute format('alter table posthaste.inbox attach partition posthaste.inbox_head for values from (minvalue) to (%L)', posthaste.first_id(part.to_day));
        update posthaste.inbox_parts set to_day = part.to_day where name = 'inbox_head';
      end loop;
    end $$`)
  return b
}

const day = (ahead: number) => new Date(Date.now() + ahead * DAY_MS).toISOString().slice(0, 10)
const partOf = (ahead: number) => `inbox_d${day(ahead).replaceAll('-', '')}`

async function parts(b: Bench): Promise<string[]> {
  const { rows } = await b.pool.query(`
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'posthaste.inbox'::regclass
    order by (select from_day from posthaste.inbox_parts p where p.name = c.relname) nulls first`)
  return rows.map((row) => row.name)
}

/** Notes ids as processed at a time, `fresh` those that were new. */
async function note(b: Bench, ids: readonly string[], { consumer = b.queue, agoMs = 0 } = {}): Promise<string[]> {
  const { rows } = await b.pool.query('select posthaste.note_processed($1, $2::uuid[]) as known', [consumer, ids])
  if (agoMs > 0) {
    for (const table of ['inbox', 'inbox_other'])
      await b.pool.query(
        `update posthaste.${table} set processed_at = clock_timestamp() - $1 * interval '1 ms' where message_id = any ($2)`,
        [agoMs, ids],
      )
  }
  return ids.filter((id) => !rows[0].known.includes(id))
}

/** As if the days from this one on had not been made yet. */
async function unmake(b: Bench, from: number): Promise<void> {
  await b.pool.query(`
    do $$
    declare part posthaste.inbox_parts;
    begin
      lock table only posthaste.inbox in access exclusive mode;
      alter table posthaste.inbox detach partition posthaste.inbox_tail;
      for part in select * from posthaste.inbox_parts where from_day >= '${day(from)}' and to_day is not null loop
        execute format('alter table posthaste.inbox detach partition posthaste.%I', part.name);
        execute format('insert into posthaste.inbox_tail select * from posthaste.%I', part.name);
        execute format('drop table posthaste.%I', part.name);
        delete from posthaste.inbox_parts where name = part.name;
      end loop;
      execute format('alter table posthaste.inbox attach partition posthaste.inbox_tail for values from (%L) to (maxvalue)', posthaste.first_id('${day(from)}'));
      update posthaste.inbox_parts set from_day = '${day(from)}' where name = 'inbox_tail';
    end $$`)
}

/** A day long ago, with a part of its own. */
async function longAgo(b: Bench, ago: number): Promise<void> {
  await b.pool.query(`
    create table posthaste.${partOf(-ago)} (like posthaste.inbox including all);
    alter table posthaste.inbox detach partition posthaste.inbox_head;
    alter table posthaste.inbox attach partition posthaste.inbox_head for values from (minvalue) to ('${await firstId(b, -ago)}');
    alter table posthaste.inbox attach partition posthaste.${partOf(-ago)} for values from ('${await firstId(b, -ago)}') to ('${await firstId(b, 0)}');
    update posthaste.inbox_parts set to_day = '${day(-ago)}' where name = 'inbox_head';
    insert into posthaste.inbox_parts values ('${partOf(-ago)}', '${day(-ago)}', '${day(1 - ago)}')`)
}

async function firstId(b: Bench, ahead: number): Promise<string> {
  return (await b.pool.query(`select posthaste.first_id($1) as id`, [day(ahead)])).rows[0].id
}

describe('the parts of the inbox', () => {
  test('reach two days ahead from the start, and are kept ahead', async () => {
    const b = await alone()
    expect(await parts(b)).toEqual(['inbox_head', partOf(0), partOf(1), partOf(2), 'inbox_tail'])
    expect(await upkeep(b, 'make_inbox_part()')).toBe(false)
    await unmake(b, 1)
    expect(await upkeep(b, 'make_inbox_part()')).toBe(true)
    expect(await upkeep(b, 'make_inbox_part()')).toBe(true)
    expect(await upkeep(b, 'make_inbox_part()')).toBe(false)
    expect(await parts(b)).toEqual(['inbox_head', partOf(0), partOf(1), partOf(2), 'inbox_tail'])
  })

  test('take over from the tail what belongs to them, and no id is new again', async () => {
    const b = await alone()
    await unmake(b, 0)
    const ids = [0, 0, 1, 2, 3, 31].map((ahead) => uuid7(ahead * DAY_MS))
    expect(await note(b, ids)).toEqual(ids)
    while (await upkeep(b, 'make_inbox_part()')) expect(await note(b, ids)).toEqual([])
    const where = await b.pool.query('select tableoid::regclass::text as part from posthaste.inbox order by message_id')
    expect(where.rows.map((row) => row.part.split('.').at(-1))).toEqual([
      partOf(0),
      partOf(0),
      partOf(1),
      partOf(2),
      'inbox_tail',
      'inbox_tail',
    ])
    expect(await note(b, ids)).toEqual([])
  })

  test('leave a full tail alone, which is cleaned by time', async () => {
    const b = await alone()
    await unmake(b, 0)
    await b.pool.query(
      `insert into posthaste.inbox (message_id, consumer) select posthaste.uuid_v7(), 'c' || n from generate_series(1, 10001) n`,
    )
    expect(await upkeep(b, 'make_inbox_part()')).toBe(false)
    await b.pool.query(`update posthaste.inbox set processed_at = clock_timestamp() - interval '9 days'`)
    await upkeep(b, `trim_inbox(${RETENTION_MS})`)
    expect(await upkeep(b, 'make_inbox_part()')).toBe(true)
  })

  test('are dropped when everything in them was processed before retention, and their range goes to the head', async () => {
    const b = await alone()
    await longAgo(b, 10)
    const old = [uuid7(-10 * DAY_MS), uuid7(-10 * DAY_MS)]
    await note(b, old, { agoMs: 9 * DAY_MS })
    expect(await upkeep(b, `trim_inbox(${RETENTION_MS})`)).toBe(true)
    expect(await parts(b)).not.toContain(partOf(-10))
    expect(await note(b, old)).toEqual(old)
    expect(await note(b, old)).toEqual([])
    expect((await b.pool.query('select from posthaste.inbox_head')).rows).toHaveLength(2)
  })

  test('are kept while one id in them was processed since', async () => {
    const b = await alone()
    await longAgo(b, 10)
    const [old, late] = [uuid7(-10 * DAY_MS), uuid7(-10 * DAY_MS)]
    await note(b, [late])
    await note(b, [old], { agoMs: 9 * DAY_MS })
    expect(await upkeep(b, `trim_inbox(${RETENTION_MS})`)).toBe(false)
    expect(await note(b, [old, late])).toEqual([])
  })

  test('and what stands beside them forget by time, and no sooner', async () => {
    const b = await alone()
    const old = [crypto.randomUUID(), uuid7(-100 * DAY_MS), uuid7(100 * DAY_MS)]
    const young = [crypto.randomUUID(), uuid7(-100 * DAY_MS), uuid7(100 * DAY_MS), uuid7()]
    await note(b, old, { agoMs: RETENTION_MS + 60_000 })
    await note(b, young, { agoMs: RETENTION_MS - 60_000 })
    await upkeep(b, `trim_inbox(${RETENTION_MS})`)
    expect((await note(b, [...old, ...young])).toSorted()).toEqual(old.toSorted())
  })
})

test('no id is new twice while parts are made, unmade and trimmed beside concurrent inserts', async () => {
  const b = await alone()
  const random = seeded(3)
  const pool = Array.from({ length: 600 }, () =>
    random() < 0.1 ? crypto.randomUUID() : uuid7(Math.floor(random() * 6 - 2) * DAY_MS),
  )
  const fresh = new Map<string, number>()
  let over = false
  const writers = Array.from({ length: 6 }, async (_, n) => {
    const dice = seeded(100 + n)
    const client = await b.connect()
    while (!over) {
      const ids = [...new Set(Array.from({ length: 1 + Math.floor(dice() * 8) }, () => pick(dice, pool)))]
      const consumer = pick(dice, ['one', 'two'])
      await client.query('begin')
      const { rows } = await client.query('select posthaste.note_processed($1, $2::uuid[]) as known', [consumer, ids])
      const kept = dice() < 0.8
      await client.query(kept ? 'commit' : 'rollback')
      if (!kept) continue
      for (const id of ids.filter((each) => !rows[0].known.includes(each)))
        fresh.set(`${id} ${consumer}`, (fresh.get(`${id} ${consumer}`) ?? 0) + 1)
    }
  })
  const until = performance.now() + 2_500
  let made = 0
  while (performance.now() < until) {
    await unmake(b, Math.floor(random() * 3))
    for (let tries = 0; tries < 20; tries += 1) if (await upkeep(b, 'make_inbox_part()')) made += 1
    await upkeep(b, `trim_inbox(${RETENTION_MS})`)
  }
  over = true
  await Promise.all(writers)
  expect([...fresh].filter(([, times]) => times > 1)).toEqual([])
  expect(fresh.size).toBeGreaterThan(500)
  expect(made).toBeGreaterThan(2)
})
