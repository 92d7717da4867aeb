import type { Position } from '../postgres/streams.ts'
import type { Worked } from './account.ts'
import type { Piece, Strand } from './cohort.ts'

/** A position would name a tick that upkeep has forgotten: what was read is to be read again, from where the lanes are. */
export const TICK_FORGOTTEN = 'PH014'

/** How messages are worked off and positions are written under a guarantee. */
export interface StreamMode {
  /** Works off a piece; how far its lanes have come. */
  work(strand: Strand, piece: Piece): Promise<Worked>
  /** Moves idle lanes on to where there was nothing for them. */
  pass(strands: readonly Strand[], at: Position): Promise<{ readonly lanes: bigint; readonly number: string }>
  /** Attempts the head of a parked key, and what waits behind it as far as nothing fails. False: there was nothing to do. */
  workParked(key: string): Promise<boolean>
  /** Asks for lanes; those it may work on. */
  take?(lanes: bigint): Promise<bigint>
  /** Lets go of lanes. */
  release?(lanes: bigint): Promise<void>
  close?(): Promise<void>
}
