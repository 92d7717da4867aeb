import { timeFrom, timeOrNull } from '../rules/driver-values.ts'
import type { AttemptError } from '../rules/error-summary.ts'
import { readLanes, storedLanes } from '../rules/lane.ts'
import { bodyOf, sizeOf } from './body.ts'
import type { Claimed } from './claim.ts'
import { historyOf } from './claimed-row.ts'
import { afterLogged, isLogged, LOGGED_COLUMNS, LoggedRow, streamRow } from './logged-row.ts'
import type { Query, Row } from './queryable.ts'
import type { NewHistory } from './settle.ts'
import type { Tables } from './tables.ts'

/** An id of a position that says: everything up to its tick. */
export const WHOLE = '9223372036854775807'

/**
 * How far a reader of the log has come: everything that tick `base` sees is done and, of what lies between `base` and `tick`, the ids up
 * to `id`.
 */
export interface Position {
  readonly base: string
  readonly tick: string
  readonly id: string
}

/** Before everything. */
export const BEGINNING: Position = Object.freeze({ base: '0', tick: '0', id: WHOLE })

export function samePosition(a: Position, b: Position): boolean {
  return a.tick === b.tick && a.id === b.id && (a.base === b.base || a.id === WHOLE)
}

/** A message of a stream, as an attempt takes it. */
export interface StreamRow extends Claimed {
  readonly lane: number
  /** How many characters and bytes it carries. */
  readonly size: number
}

/** What one look brought, and the position after it: the one it began at when nothing is new. */
export interface Chunk {
  readonly rows: readonly StreamRow[]
  readonly end: Position
}

export interface ReadFrom {
  readonly queue: number
  readonly lanes: bigint
  readonly from: Position
  /** Rows of the log that are looked at, at most. */
  readonly limit: number
  /** No further than this tick, and of what lies between it and the one before no further than this id. @default the newest tick */
  readonly until?: { readonly tick: string; readonly id?: string } | undefined
  /** What was published before it is passed over. */
  readonly since?: Date | null | undefined
  /** What was published at it, or later, is passed over. */
  readonly before?: Date | null | undefined
}

/** Reads the log after a position. Its last row is no message: see `chunkOf`. */
export function readStream(
  t: Tables,
  { queue, lanes, from, limit, until, since, before }: ReadFrom,
): Query<StreamRow | Position> {
  return {
    name: 'posthaste.read_stream',
    text: `
      select ${LOGGED_COLUMNS}, r.base, r.tick
      from ${t.of('ticks_for')}($3, $4, $5, $6) p
      cross join lateral ${t.of('read_log')}($1, $2, p.a, p.b, $5, $6, $7, $8, $9, $10) r`,
    values: [
      queue,
      storedLanes(lanes),
      from.base,
      from.tick,
      from.id,
      until?.tick ?? null,
      until?.id ?? null,
      limit,
      since ?? null,
      before ?? null,
    ],
    decode: (row) => (row.message_id === null ? position(row) : streamRow(row)),
    decodeTexts: (texts) => {
      if (isLogged(texts)) return new LoggedRow(texts)
      const { id, others } = afterLogged(texts)
      return { base: others[0]!, tick: others[1]!, id }
    },
  }
}

/** Parts the messages from the position that comes after them. */
export function chunkOf(found: (StreamRow | Position)[]): Chunk {
  const end = found.pop() as Position
  return { rows: found as StreamRow[], end }
}

const position = (row: Row): Position => ({
  base: String(row.base),
  tick: String(row.tick),
  id: positionId(row.id),
})

/** The id of a position, in whatever shape the driver gives an int8: as a number, that of a whole one is not exact. */
export function positionId(id: unknown): string {
  return typeof id === 'number' && id > Number.MAX_SAFE_INTEGER ? WHOLE : String(id)
}

/** The position after everything that the relay has seen of the log, and the time. */
export function latestPosition(t: Tables): Query<Position & { readonly now: Date }> {
  return {
    text: `select *, clock_timestamp() as now from ${t.of('position_latest')}()`,
    values: [],
    decode: (row) => ({ ...position(row), now: timeFrom(row.now) }),
  }
}

/** A position before everything published at a time or later; what is older comes too. */
export function positionAtTime(t: Tables, at: Date): Query<Position> {
  return { text: `select * from ${t.of('position_at_time')}($1)`, values: [at], decode: position }
}

/** The position just before a message, or just after it; null when the log does not hold it. */
export function positionOfMessage(t: Tables, messageId: string, after = false): Query<Position | null> {
  return {
    text: `select * from ${t.of('position_of_message')}($1, $2)`,
    values: [messageId, after],
    decode: (row) => (row.tick === null ? null : position(row)),
  }
}

// The lanes of a group

/** Makes a group at a position, or finds it where it is. */
export function makeGroup(
  t: Tables,
  { queue, name, at, since }: { queue: number; name: string; at: Position; since: Date | null },
): Query<{ grp: number; made: boolean }> {
  return {
    text: `select grp, made from ${t.of('make_group')}($1, $2, $3, $4, $5, $6)`,
    values: [queue, name, at.base, at.tick, at.id, since],
  }
}

/** A group of a stream by its name, or no row. */
export function groupNumber(t: Tables, queue: number, name: string): Query<{ id: number }> {
  return { text: `select id from ${t.of('stream_groups')} where queue = $1 and name = $2`, values: [queue, name] }
}

/** The names of the groups of a stream. */
export function groupNames(t: Tables, queue: number): Query<{ name: string }> {
  return { text: `select name from ${t.of('stream_groups')} where queue = $1 order by name`, values: [queue] }
}

/** What a group passes over: messages of before it. */
export function groupSince(t: Tables, group: number): Query<{ since: Date | null }> {
  return {
    text: `select since from ${t.of('stream_groups')} where id = $1`,
    values: [group],
    decode: ({ since }) => ({ since: timeOrNull(since) }),
  }
}

export interface LanesAt {
  readonly number: string
  readonly lanes: bigint
  readonly at: Position
  readonly replay: number | null
}

/** Where the lanes of a group are, a row per position. */
export function groupPositions(t: Tables, group: number): Query<LanesAt> {
  return {
    text: `select number, lanes::text, base, tick, id, replay from ${t.of('group_positions')}($1)`,
    values: [group],
    decode: (row) => ({
      number: String(row.number),
      lanes: readLanes(row.lanes),
      at: position(row),
      replay: row.replay,
    }),
  }
}

export interface ReplayWindow {
  readonly tick: string
  readonly lastId: string
  readonly since: Date | null
  readonly before: Date | null
}

export function replayWindow(t: Tables, replay: number): Query<ReplayWindow> {
  return {
    text: `select tick, last_id, since, before from ${t.of('replays')} where id = $1`,
    values: [replay],
    decode: (row) => ({
      tick: String(row.tick),
      lastId: positionId(row.last_id),
      since: timeOrNull(row.since),
      before: timeOrNull(row.before),
    }),
  }
}

/** Joins a group, for as long as the session lives. */
export function joinGroup(t: Tables, group: number): Query<{ pid: number }> {
  return { text: `select ${t.of('join_group')}($1) as pid`, values: [group] }
}

export function leaveGroup(t: Tables, group: number): Query<unknown> {
  return { text: `select ${t.of('leave_group')}($1)`, values: [group] }
}

export interface GroupLook {
  readonly group: number
  /** The sessions that have joined it. */
  readonly members: readonly number[]
  /** For how long it is paused; null when it is open. */
  readonly pausedMs: number | null
  /** Lanes that stand still behind a message that failed. */
  readonly closed: bigint
  /** Lanes that nobody has moved on for long. */
  readonly stale: bigint
  /** Until something parked is due; null when nothing is parked. */
  readonly dueMs: number | null
  /** The newest tick. */
  readonly newest: string
  /** The number of the position to which somebody moved it by hand. */
  readonly moved: string
}

/** What a process looks at now and then, for all its groups at once. */
export function lookAtGroups(t: Tables, groups: readonly number[]): Query<GroupLook> {
  return {
    name: 'posthaste.look_at_groups',
    text: `
      select grp, members, paused_ms, closed::text, stale::text, due_ms, newest, moved
      from ${t.of('look_at_groups')}($1::integer[])`,
    values: [groups],
    decode: (row) => ({
      group: row.grp,
      members: row.members,
      pausedMs: row.paused_ms === null ? null : Number(row.paused_ms),
      closed: readLanes(row.closed),
      stale: readLanes(row.stale),
      dueMs: row.due_ms === null ? null : Number(row.due_ms),
      newest: String(row.newest),
      moved: String(row.moved),
    }),
  }
}

export interface LanesToHold {
  readonly group: number
  readonly lanes: bigint
  /** The number of the position they are at. */
  readonly number: string
}

export interface Held {
  /** Those that were got. */
  readonly held: bigint
  /** Whether the group has put something aside. */
  readonly parks: boolean
  readonly paused: boolean
}

/** Takes lanes for the transaction it runs in: those that are free, and where the caller believes. */
export function holdLanes(t: Tables, { group, lanes, number }: LanesToHold): Query<Held> {
  return {
    name: 'posthaste.hold_lanes',
    text: `select held::text, parks, paused from ${t.of('hold_lanes')}($1, $2, $3)`,
    values: [group, storedLanes(lanes), number],
    decode: (row) => ({ held: readLanes(row.held), parks: row.parks, paused: row.paused }),
  }
}

/** Those of the keys that have something parked; they stay parked until the transaction ends. */
export function holdParked(t: Tables, group: number, keys: readonly string[]): Query<{ parked: string[] }> {
  return { text: `select ${t.of('hold_parked')}($1, $2::text[]) as parked`, values: [group, keys] }
}

export interface LaneLease {
  readonly lease: string
  readonly token: string
}

/** The same, of lanes that are leased; a lease that lapsed holds nothing. */
export function holdLeasedLanes(
  t: Tables,
  { group, lanes, number, keys, lease, token }: LanesToHold & LaneLease & { readonly keys: readonly string[] },
): Query<{ held: bigint; paused: boolean }> {
  return {
    name: 'posthaste.hold_leased_lanes',
    text: `select held::text, paused from ${t.of('hold_leased_lanes')}($1, $2, $3, $4::text[], $5, $6)`,
    values: [group, storedLanes(lanes), number, keys, lease, token],
    decode: (row) => ({ held: readLanes(row.held), paused: row.paused }),
  }
}

/** Leases lanes, those that are free; no row when none is. */
export function leaseLanes(
  t: Tables,
  {
    group,
    lanes,
    leaseMs,
    holder,
    session,
  }: { group: number; lanes: bigint; leaseMs: number; holder: string; session: number | null },
): Query<LaneLease & { lanes: bigint }> {
  return {
    text: `select lease, token, lanes::text from ${t.of('lease_lanes')}($1, $2, $3, $4, $5)`,
    values: [group, storedLanes(lanes), leaseMs, holder, session],
    decode: (row) => ({ lease: String(row.lease), token: row.token, lanes: readLanes(row.lanes) }),
  }
}

export function renewLanes(t: Tables, { lease, token }: LaneLease, leaseMs: number): Query<{ renewed: boolean }> {
  return { text: `select ${t.of('renew_lanes')}($1, $2, $3) as renewed`, values: [lease, token, leaseMs] }
}

export function releaseLanes(t: Tables, { lease, token }: LaneLease): Query<{ released: boolean }> {
  return { text: `select ${t.of('release_lanes')}($1, $2) as released`, values: [lease, token] }
}

/** Whether a lease is held still; it is then, until the transaction ends. */
export function leaseHolds(t: Tables, { lease, token }: LaneLease): Query<{ holds: boolean }> {
  return {
    text: `select true as holds from ${t.of('lane_leases')} where id = $1 and token = $2 and expires_at > clock_timestamp() for key share`,
    values: [lease, token],
  }
}

/** The keys, of those given, that have something parked. */
export function parkedAmong(t: Tables, group: number, keys: readonly string[]): Query<{ key: string }> {
  return {
    name: 'posthaste.parked_among',
    text: `select key from ${t.of('parked_among')}($1, $2::text[]) key`,
    values: [group, keys],
  }
}

/** What a message came to that is not simply done. */
export type Parking =
  | {
      readonly kind: 'dead'
      readonly row: Claimed
      readonly reason: string
      readonly attempts: number
      readonly history: NewHistory
    }
  | {
      readonly kind: 'head'
      readonly row: StreamRow
      readonly key: string
      readonly scope: 'key' | 'message' | 'lane'
      readonly attempts: number
      readonly history: NewHistory
      readonly delayMs: number
      readonly held: boolean
    }
  | { readonly kind: 'behind'; readonly row: StreamRow; readonly key: string }

export interface LanesSettled {
  readonly group: number
  readonly lanes: bigint
  readonly at: Position
  readonly replay: number | null
  readonly parking: readonly Parking[]
}

/**
 * Appends the position of lanes that the transaction holds, and puts aside what failed; the last statement before COMMIT. Answers the number
 * of the position, 0 when a replay has ended and the lanes are elsewhere.
 */
export function settleLanes(t: Tables, { group, lanes, at, replay, parking }: LanesSettled): Query<{ number: string }> {
  return {
    name: 'posthaste.settle_lanes',
    text: `select ${t.of('settle_lanes')}($1, $2, $3, $4, $5, $6, $7) as number`,
    values: [
      group,
      storedLanes(lanes),
      at.base,
      at.tick,
      at.id,
      replay,
      parking.length > 0 ? JSON.stringify(parking.map(parkingFacts)) : null,
    ],
    decode: (row) => ({ number: String(row.number) }),
  }
}

/** The same when nothing is put aside and the transaction has nothing else to keep: its COMMIT waits for no disk. */
export function noteLanes(
  t: Tables,
  { group, lanes, at, replay }: Omit<LanesSettled, 'parking'>,
): Query<{ number: string }> {
  return {
    name: 'posthaste.note_lanes',
    text: `select ${t.of('note_lanes')}($1, $2, $3, $4, $5, $6) as number`,
    values: [group, storedLanes(lanes), at.base, at.tick, at.id, replay],
    decode: (row) => ({ number: String(row.number) }),
  }
}

function parkingFacts(parking: Parking): object {
  const { message, messageId, priority } = parking.row
  const facts = { message, message_id: messageId, priority }
  if (parking.kind === 'dead')
    return { ...facts, dead: parking.reason, attempts: parking.attempts, history: parking.history }
  const { key, row } = parking
  if (parking.kind === 'behind') return { ...facts, key, lane: row.lane }
  const { scope, attempts, history, delayMs, held } = parking
  return { ...facts, key, lane: row.lane, scope, attempts, history, delay_ms: delayMs, held }
}

/** Moves lanes on where nothing was for them: sets of lanes, each at its own position, to one. */
export function passLanes(
  t: Tables,
  {
    group,
    sets,
    at,
    replay,
  }: {
    group: number
    sets: readonly { readonly lanes: bigint; readonly number: string }[]
    at: Position
    replay: number | null
  },
): Query<{ held: bigint; number: string }> {
  return {
    text: `select held::text, number from ${t.of('pass_lanes')}($1, $2::bigint[], $3::bigint[], $4, $5, $6, $7)`,
    values: [
      group,
      sets.map(({ lanes }) => storedLanes(lanes)),
      sets.map(({ number }) => number),
      at.base,
      at.tick,
      at.id,
      replay,
    ],
    decode: (row) => ({ held: readLanes(row.held), number: String(row.number ?? 0) }),
  }
}

// What is parked

/** Keys of these lanes whose head is due. */
export function dueKeys(t: Tables, group: number, lanes: bigint, limit: number): Query<{ key: string }> {
  return {
    text: `select key from ${t.of('due_keys')}($1, $2, $3)`,
    values: [group, storedLanes(lanes), limit],
  }
}

export interface ParkedRow extends StreamRow {
  /** Its place among what is parked. */
  readonly number: string
  readonly dueAt: string
}

/** Takes the first messages of a parked key, for the transaction it runs in or, with a lease, for a time. */
export function takeParked(
  t: Tables,
  { group, key, limit, leaseMs }: { group: number; key: string; limit: number; leaseMs: number | null },
): Query<ParkedRow> {
  return {
    text: `
      select number, message, message_id, attempts, history, due_at, missing, (m).priority, (m).exchange, (m).routing_key, (m).type,
             (m).version, (m).key, (m).correlation_id, (m).causation_id, (m).headers::text as headers, (m).payload::text as payload,
             (m).body, (m).content_type, date_part('epoch', (m).published_at) * 1000 as published_ms,
             coalesce((m).expires_at <= clock_timestamp(), false) as expired
      from ${t.of('take_parked')}($1, $2, $3, $4)`,
    values: [group, key, limit, leaseMs],
    decode: (row) => ({
      priority: 9 - (row.priority ?? 0),
      position: String(row.message),
      message: String(row.message),
      messageId: row.message_id,
      attempts: row.attempts,
      crashes: 0,
      history: historyOf(row.history),
      duplicate: false,
      leftOut: false,
      expired: row.expired,
      lane: -1,
      size: sizeOf(row),
      body: row.missing ? null : bodyOf(row),
      number: String(row.number),
      dueAt: row.due_at,
    }),
  }
}

export interface ParkedSettled {
  readonly group: number
  readonly key: string
  /** Of a lease: only while it is still the caller's. */
  readonly dueAt: string | null
  readonly done: readonly string[]
  readonly attempts: number
  readonly history: NewHistory
  readonly delayMs: number
  readonly held: boolean
  readonly dead: readonly Extract<Parking, { kind: 'dead' }>[]
}

/** Ends an attempt of parked messages; false: they are somebody else's by now. */
export function settleParked(t: Tables, settled: ParkedSettled): Query<{ settled: boolean }> {
  const { group, key, dueAt, done, attempts, history, delayMs, held, dead } = settled
  return {
    text: `select ${t.of('settle_parked')}($1, $2, $3, $4::bigint[], $5, $6::text::jsonb, $7, $8, $9) as settled`,
    values: [
      group,
      key,
      dueAt,
      done,
      attempts,
      JSON.stringify(history),
      delayMs,
      held,
      dead.length > 0 ? JSON.stringify(dead.map(parkingFacts)) : null,
    ],
  }
}

// What is done to a group by hand, or by a handler

export interface GroupPause {
  readonly group: number
  /** Null: until it is resumed. */
  readonly forMs: number | null
  readonly reason: string | null
  readonly by: string | null
}

/** Nothing is read for the group, by no process, for a time or until it is resumed. */
export function pauseGroup(t: Tables, { group, forMs, reason, by }: GroupPause): Query<unknown> {
  return { text: `select ${t.of('pause_group')}($1, $2, $3, $4)`, values: [group, forMs, reason, by] }
}

export function resumeGroup(t: Tables, group: number): Query<{ resumed: boolean }> {
  return { text: `select ${t.of('resume_group')}($1) as resumed`, values: [group] }
}

export interface Act {
  readonly group: number
  readonly by: string | null
  /** What was asked for, for the journal. */
  readonly facts: object
}

/** Moves all lanes of a group to a position. */
export function seekGroup(
  t: Tables,
  { group, by, facts, at, since }: Act & { readonly at: Position; readonly since: Date | null },
): Query<unknown> {
  return {
    text: `select ${t.of('seek_group')}($1, $2, $3, $4, $5, $6, $7::text::jsonb)`,
    values: [group, at.base, at.tick, at.id, since, by, JSON.stringify(facts)],
  }
}

export interface Range {
  readonly at: Position
  readonly lastTick: string
  readonly lastId: string
  readonly since: Date | null
  readonly before: Date | null
}

/** Lets a group read a part of the log again, and then go on from where it is. */
export function replayGroup(
  t: Tables,
  { group, by, facts, at, lastTick, lastId, since, before }: Act & Range,
): Query<{ replay: number }> {
  return {
    text: `select ${t.of('replay_group')}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb) as replay`,
    values: [group, at.base, at.tick, at.id, lastTick, lastId, since, before, by, JSON.stringify(facts)],
  }
}

export function deleteGroup(t: Tables, group: number, by: string | null): Query<{ parked: number }> {
  return {
    text: `select parked from ${t.of('delete_group')}($1, $2)`,
    values: [group, by],
    decode: ({ parked }) => ({ parked: Number(parked) }),
  }
}

/** What lies in a part of a stream. */
export interface Counted {
  /** Messages of the stream. */
  readonly messages: number
  /** Those that the group's inbox knows. */
  readonly processed: number
}

const EVERYTHING = '9223372036854775807'

/** How many messages of a stream lie in a range, and how many of them a consumer's inbox knows. */
export function countStream(
  t: Tables,
  { queue, consumer, at, lastTick, lastId, since, before }: Range & { queue: number; consumer: string },
): Query<Counted> {
  return {
    text: `select messages, processed from ${t.of('count_stream')}($1, -1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    values: [queue, at.base, at.tick, at.id, lastTick, lastId, since, before, consumer, EVERYTHING],
    decode: (row) => ({ messages: Number(row.messages), processed: Number(row.processed) }),
  }
}

/** A group as it stands. */
export interface GroupStatus {
  readonly stream: string
  readonly group: string
  /** Processes that read for it now; those behind a pooler are not known. */
  readonly members: number
  /** Messages it has not read. Counted up to 10,000, and from there on reckoned. */
  readonly lag: number
  /** Whether `lag` is exact. */
  readonly lagCounted: boolean
  /** How long ago the oldest message that it has not read was published; null when there is none. */
  readonly lagMs: number | null
  /** Messages that wait aside, and by how many keys; `heldKeys` wait for a person. */
  readonly parked: number
  readonly parkedKeys: number
  readonly heldKeys: number
  readonly replaying: boolean
  readonly paused: { readonly until: Date | null; readonly reason: string | null; readonly by: string | null } | null
  readonly madeAt: Date
  readonly movedAt: Date | null
}

const MOST_COUNTED = 10_000

/** Every group of a stream, or of all; or one. */
export function groupStatus(t: Tables, queue: number | null, group: string | null): Query<GroupStatus> {
  return {
    text: `select * from ${t.of('group_status')}($1, $2, $3)`,
    values: [queue, group, MOST_COUNTED],
    decode: groupStatusOf,
  }
}

function groupStatusOf(row: Row): GroupStatus {
  return {
    stream: row.stream,
    group: row.name,
    members: row.members,
    lag: Number(row.lag),
    lagCounted: row.counted,
    lagMs: row.lag_ms === null ? null : Math.round(Number(row.lag_ms)),
    parked: Number(row.parked),
    parkedKeys: Number(row.parked_keys),
    heldKeys: Number(row.held_keys),
    replaying: row.replaying,
    paused:
      row.paused_until === null
        ? null
        : { until: timeOrNull(row.paused_until), reason: row.pause_reason, by: row.paused_by },
    madeAt: timeFrom(row.made_at),
    movedAt: timeOrNull(row.moved_at),
  }
}

/** What is put aside for a group: by what it goes, its head, and how much waits behind that. */
export interface ParkedKey {
  readonly key: string
  readonly scope: 'key' | 'message' | 'lane'
  readonly lane: number
  /** Attempts of the head that have failed. */
  readonly attempts: number
  readonly errors: readonly AttemptError[]
  /** When the head is attempted again; null when it waits for a person. */
  readonly dueAt: Date | null
  readonly held: boolean
  readonly parkedAt: Date
  /** Messages that wait behind the head. Of a lane they wait in the log, and are not counted here. */
  readonly waiting: number
  readonly messageId: string | null
  readonly type: string | null
  readonly payload: unknown
}

export function parkedOf(t: Tables, group: number, key: string | null, limit: number): Query<ParkedKey> {
  return {
    text: `select * from ${t.of('parked_of')}($1, $2, $3)`,
    values: [group, key, limit],
    decode: (row) => ({
      key: row.key,
      scope: row.scope,
      lane: row.lane,
      attempts: row.attempts,
      errors: historyOf(row.history),
      dueAt: row.held ? null : timeOrNull(row.due_at),
      held: row.held,
      parkedAt: timeFrom(row.parked_at),
      waiting: Number(row.waiting),
      messageId: row.message_id,
      type: row.type,
      payload: row.payload === null ? undefined : JSON.parse(row.payload),
    }),
  }
}

/** Makes the heads of all parked keys due. */
export function releaseKeys(t: Tables, group: number): Query<{ released: number }> {
  return { text: `select ${t.of('release_keys')}($1) as released`, values: [group] }
}

/** Makes the head of a parked key due; false: there is no such key. */
export function retryKey(t: Tables, group: number, key: string): Query<{ done: boolean }> {
  return { text: `select ${t.of('retry_key')}($1, $2) as done`, values: [group, key] }
}

/** Makes the head of a parked key a dead letter, and lets what waits behind it go on; false: there is no such key. */
export function skipHead(t: Tables, group: number, key: string, by: string | null): Query<{ done: boolean }> {
  return { text: `select ${t.of('skip_head')}($1, $2, $3) > 0 as done`, values: [group, key, by] }
}
