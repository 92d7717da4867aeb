import type { Seat } from '../consumer/seat.ts'
import type { StreamSettings } from '../rules/topology.ts'

/** What the parts of one reader of a stream share while it runs. */
export interface StreamSeat<Tx> extends Seat<Tx> {
  /** The group's number in this database. */
  readonly group: number
  readonly groupName: string
  readonly settings: StreamSettings
  /** Whether the inbox remembers what was processed, so that a replay repeats nothing. */
  readonly guarded: boolean
  /** The group's name in the inbox. */
  readonly consumer: string
}
