import type { Query, Row } from './queryable.ts'
import type { Tables } from './tables.ts'

// Each is one short step in a transaction of its own. 55P03 (a lock was not to be had in time) is normal: try again later.

/** Keeps partitions of the outbox ahead of its ids. */
export function makePartitions(t: Tables, retentionMs: number): Query<{ done: boolean }> {
  return step(t, 'make_partitions', retentionMs)
}

/** Empties the oldest partition that every reader is past and that is older than retention; returns its name. */
export function emptyPartition(
  t: Tables,
  retentionMs: number,
  mostBytes: number | null = null,
): Query<{ done: string | null }> {
  return { text: `select ${t.of('empty_partition')}($1, $2) as done`, values: [retentionMs, mostBytes] }
}

/** What a group of a stream has not read of a partition. */
export interface Unread {
  readonly queue: string
  readonly group: string
  readonly messages: number
}

const unread = (row: Row): Unread => ({ queue: row.stream, group: row.grp, messages: Number(row.messages) })

/** The groups that were cut off from a partition which was emptied. */
export function cutOffFrom(t: Tables, partition: string): Query<Unread> {
  return { text: `select * from ${t.of('cut_off_from')}($1)`, values: [partition], decode: unread }
}

/** The groups that keep a partition which retention would empty. */
export function laggingGroups(t: Tables, retentionMs: number, mostBytes: number | null): Query<Unread> {
  return {
    text: `select * from ${t.of('lagging_groups')}($1, $2)`,
    values: [retentionMs, mostBytes],
    decode: unread,
  }
}

/** Drops what emptied partitions left. */
export function dropShells(t: Tables): Query<{ done: boolean }> {
  return step(t, 'drop_shells')
}

/** Sums up the tally, so that depth and rates cost the same however long the history is. */
export function foldTally(t: Tables): Query<{ done: boolean }> {
  return step(t, 'fold_tally')
}

/** Forgets ticks, positions and counts that nobody reads any more. */
export function trimLogs(t: Tables): Query<{ done: boolean }> {
  return step(t, 'trim_logs')
}

/** Forgets held messages that no delivery names any more. */
export function trimHeld(t: Tables): Query<{ done: boolean }> {
  return step(t, 'trim_held')
}

/** Keeps the inbox's days ahead. */
export function makeInboxPart(t: Tables): Query<{ done: boolean }> {
  return step(t, 'make_inbox_part')
}

/** Forgets processed ids past retention. */
export function trimInbox(t: Tables, retentionMs: number): Query<{ done: boolean }> {
  return step(t, 'trim_inbox', retentionMs)
}

/** Forgets deduplication keys whose time is over. */
export function trimDedupe(t: Tables): Query<{ done: boolean }> {
  return step(t, 'trim_dedupe')
}

/** Forgets attempts past retention. */
export function trimAttempts(t: Tables, retentionMs: number): Query<{ done: boolean }> {
  return step(t, 'trim_attempts', retentionMs)
}

/** Forgets requests whose requester is gone. */
export function trimRequests(t: Tables): Query<{ done: boolean }> {
  return step(t, 'trim_requests')
}

/** Forgets dead letters past retention. */
export function trimDeadLetters(t: Tables, retentionMs: number): Query<{ done: boolean }> {
  return step(t, 'trim_dead_letters', retentionMs)
}

function step(t: Tables, name: string, ...values: number[]): Query<{ done: boolean }> {
  return { text: `select ${t.of(name)}(${values.map((_, i) => `$${i + 1}`).join(', ')}) as done`, values }
}
