import { timeOrNull } from '../rules/driver-values.ts'
import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

export interface StoredGroup {
  readonly id: number
  readonly group: string
  readonly stream: string
  /** The number of the stream. */
  readonly queue: number
  /** What was published before is not for it. */
  readonly since: Date | null
}

/** Every group of every stream. */
export function storedGroups(t: Tables): Query<StoredGroup> {
  return {
    text: `
      select g.id, g.name as "group", q.name as stream, g.queue, g.since
      from ${t.of('stream_groups')} g
      join ${t.of('queues')} q on q.id = g.queue
      order by q.name, g.name`,
    values: [],
    decode: (row) => ({ ...row, since: timeOrNull(row.since) }) as StoredGroup,
  }
}

/** What a group has passed and need not have handled: messages that wait for an earlier one, and those that died in it. */
export function putAside(t: Tables, { id, queue, group }: StoredGroup): Query<{ id: string }> {
  return {
    text: `
      select message_id as id from ${t.of('parked')} where grp = $1
      union
      select message_id from ${t.of('dead_letters')} where queue = $2 and grp = $3`,
    values: [id, queue, group],
  }
}
