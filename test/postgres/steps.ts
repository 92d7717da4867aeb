import type pg from 'pg'

/**
 * Places where a relay's cycle can be stopped, in the order in which it passes them. They are let into the text of the shipped
 * functions, as the database has it, and into nothing else; `held` is the transaction of a caller that has not committed yet.
 */
export const STEPS = [
  'before the turn',
  'with the turn',
  'position read',
  'snapshot taken',
  'batch read',
  'deliveries written',
  'held',
  'committed',
] as const

export type Step = (typeof STEPS)[number]

interface Seam {
  readonly step: Step
  readonly in: string
  /** The text of the function after which it stops, or before which. */
  readonly after?: string
  readonly before?: string
}

const SEAMS: readonly Seam[] = [
  { step: 'before the turn', in: 'relay_cycle', before: `perform from turns where name = 'router'` },
  { step: 'with the turn', in: 'relay_cycle', after: 'turn := true;' },
  { step: 'position read', in: 'relay_cycle', after: 'b := tick_of(here.tick);' },
  { step: 'snapshot taken', in: 'relay_cycle', after: 'b.snapshot := pg_current_snapshot();' },
  { step: 'batch read', in: 'unrouted', before: 'end ' },
  { step: 'deliveries written', in: 'relay_cycle', before: 'messages := routed.messages;' },
]

/** Lets the steps into the functions of this database, where they pass unless a `Brake` is on. */
export async function letInSteps(pool: pg.Pool): Promise<void> {
  await pool.query(`
    create function posthaste.step(_name text) returns void language sql
    as $$ select pg_advisory_lock_shared(7, hashtext(_name)), pg_advisory_unlock_shared(7, hashtext(_name)) $$`)
  for (const name of new Set(SEAMS.map((seam) => seam.in))) {
    const { rows } = await pool.query('select pg_get_functiondef(oid) as text from pg_proc where proname = $1', [name])
    const seams = SEAMS.filter((seam) => seam.in === name)
    await pool.query(seams.reduce(letIn, rows[0].text as string))
  }
}

function letIn(text: string, { step, after, before }: Seam): string {
  const call = `perform posthaste.step('${step}');`
  const anchor = after ?? before!
  const at = after ? text.indexOf(after) : text.lastIndexOf(before!)
  if (at < 0) throw new Error(`no "${anchor}" to stop at`)
  return after
    ? `${text.slice(0, at)}${after}\n${call}${text.slice(at + after.length)}`
    : `${text.slice(0, at)}${call}\n${text.slice(at)}`
}

/** Holds a cycle at steps of one's choice. */
export class Brake {
  readonly #client: pg.Client
  readonly #pid: number

  /** `client` is nobody else's; `pid` is the server process that runs the cycle. */
  constructor(client: pg.Client, pid: number) {
    this.#client = client
    this.#pid = pid
  }

  async on(steps: readonly Step[]): Promise<void> {
    await this.#client.query('select pg_advisory_lock(7, hashtext(step)) from unnest($1::text[]) step', [steps])
  }

  /** Resolves when the cycle waits at the step. */
  async reached(step: Step): Promise<void> {
    const asked = `
      select from pg_locks
      where pid = $1 and locktype = 'advisory' and classid = 7 and objid::bigint = hashtext($2)::bigint & 4294967295 and not granted`
    const deadline = performance.now() + 4_000
    while ((await this.#client.query(asked, [this.#pid, step])).rows.length === 0)
      if (performance.now() > deadline) throw new Error(`the cycle did not come to "${step}"`)
  }

  async off(step: Step): Promise<void> {
    await this.#client.query('select pg_advisory_unlock(7, hashtext($1))', [step])
  }
}

/** What loses messages: everything above the last id that was routed. It takes the place of the shipped cursor, and of nothing else. */
export async function naiveCursor(pool: pg.Pool): Promise<void> {
  await pool.query(`
    create table posthaste.naive (last bigint not null);
    insert into posthaste.naive values (0);
    create or replace function posthaste.unrouted(
      _state text, _a pg_snapshot, _b pg_snapshot, _after bigint, _top bigint, _floor bigint, _limit integer)
    returns table (id bigint, message_id uuid, exchange text, routing_key text, type text, priority smallint, deliver_at timestamptz, headers json)
    language plpgsql set search_path from current
    as $$
    #variable_conflict use_column
    declare
      batch bigint[] := array(select o.id from posthaste.outbox o where o.id > (select last from posthaste.naive) order by o.id limit _limit);
    begin
      update posthaste.naive set last = batch[cardinality(batch)] where cardinality(batch) > 0;
      return query select o.id, o.message_id, o.exchange, o.routing_key, o.type, o.priority, o.deliver_at, o.headers
        from posthaste.outbox o where o.id = any (batch) order by o.id;
    end $$`)
}

/** The shipped cursor, made to take every backlog for a large one. */
export async function farCursor(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query(`select pg_get_functiondef('posthaste.look_between'::regproc) as text`)
  const near = replaced(rows[0].text, 'elsif _b.top_id - _a.top_id > stretch then', 'elsif _b.top_id > _a.top_id then')
  await pool.query(replaced(near, 'stretch constant bigint := 20 * _chunk', 'stretch constant bigint := _chunk'))
}

/** The shipped cycle, which takes few messages for as many as there may be: they are routed by the statement that routes thousands. */
export async function manyAtOnce(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query(`select pg_get_functiondef('posthaste.relay_cycle'::regproc) as text`)
  await pool.query(replaced(rows[0].text, 'few constant bigint := 8', 'few constant bigint := -1'))
}

function replaced(text: string, old: string, by: string): string {
  if (!text.includes(old)) throw new Error(`no "${old}" to replace`)
  return text.replace(old, by)
}
