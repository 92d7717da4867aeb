import { timeFrom, timeOrNull } from '../rules/driver-values.ts'
import type { MissedTicks } from '../rules/schedule.ts'
import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'

/** A recurring message as it is stored. */
export interface StoredSchedule {
  readonly name: string
  readonly cron: string
  readonly timeZone: string
  /** What becomes of ticks that no relay was there for. */
  readonly missed: MissedTicks
  /** The type of the message that each tick publishes. */
  readonly type: string
  readonly exchange: string
  readonly routingKey: string
  /** The next tick; null when there is none any more. */
  readonly nextAt: Date | null
  /** The last tick that was published. */
  readonly lastAt: Date | null
  /** The service that declared it first; null for none. */
  readonly owner: string | null
  readonly declaredAt: Date
}

/** Where relays are told of new schedules; the same as `schedules_channel` in SQL. */
export function schedulesChannel({ schema }: Tables): string {
  return `posthaste.${schema}.schedules`
}

export function databaseTime(): Query<{ now: Date }> {
  return { text: 'select clock_timestamp() as now', values: [], decode: ({ now }) => ({ now: timeFrom(now) }) }
}

export interface PutSchedule {
  readonly name: string
  readonly cron: string
  readonly timeZone: string
  readonly missed: MissedTicks
  /** JSON, as publish_all takes it. */
  readonly message: string
  readonly nextAt: Date
  readonly owner: string | null
}

/** Declares a schedule; one whose cron and time zone stay as they were keeps its next tick. */
export function putSchedule(t: Tables, given: PutSchedule): Query<{ nextAt: Date }> {
  const { name, cron, timeZone, missed, message, nextAt, owner } = given
  return {
    text: `select ${t.of('put_schedule')}($1, $2, $3, $4, $5::text, $6::timestamptz, $7) as "nextAt"`,
    values: [name, cron, timeZone, missed, message, nextAt.toISOString(), owner],
    decode: (row) => ({ nextAt: timeFrom(row.nextAt) }),
  }
}

export function storedSchedules(t: Tables): Query<StoredSchedule> {
  return {
    text: `
      select name, cron, time_zone, missed, message ->> 'type' as type, coalesce(message ->> 'exchange', '') as exchange,
             message ->> 'routing_key' as routing_key, nullif(next_at, 'infinity') as next_at, last_at, owner, declared_at
      from ${t.of('schedules')}
      order by name`,
    values: [],
    decode: stored,
  }
}

export function removeSchedule(t: Tables, name: string): Query<{ name: string }> {
  return { text: `delete from ${t.of('schedules')} where name = $1 returning name`, values: [name] }
}

/** A schedule whose tick has come; or, with no name, how long until one has. */
export interface DueSchedule {
  readonly name: string | null
  readonly cron: string
  readonly timeZone: string
  readonly missed: MissedTicks
  readonly nextAt: Date
  readonly now: Date
  readonly waitMs: number
}

export function dueSchedules(t: Tables, limit: number): Query<DueSchedule> {
  return {
    text: `select * from ${t.of('due_schedules')}($1)`,
    values: [limit],
    decode: (row) => ({
      name: row.name,
      cron: row.cron,
      timeZone: row.time_zone,
      missed: row.missed,
      nextAt: timeFrom(row.next_at),
      now: timeFrom(row.now),
      waitMs: Number(row.wait_ms),
    }),
  }
}

/** Publishes ticks and moves the schedule on; false when somebody else has, or it is another one by now. */
export function fireSchedule(
  t: Tables,
  { name, expected, next, ticks }: { name: string; expected: Date; next: Date | undefined; ticks: readonly Date[] },
): Query<{ fired: boolean }> {
  return {
    text: `select ${t.of('fire_schedule')}($1, $2::timestamptz, $3::timestamptz, $4::timestamptz[]) as fired`,
    values: [name, expected.toISOString(), next?.toISOString() ?? 'infinity', ticks.map((tick) => tick.toISOString())],
  }
}

function stored(row: Row): StoredSchedule {
  return {
    name: row.name,
    cron: row.cron,
    timeZone: row.time_zone,
    missed: row.missed,
    type: row.type,
    exchange: row.exchange,
    routingKey: row.routing_key,
    nextAt: timeOrNull(row.next_at),
    lastAt: timeOrNull(row.last_at),
    owner: row.owner,
    declaredAt: timeFrom(row.declared_at),
  }
}
