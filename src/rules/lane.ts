import { createHash } from 'node:crypto'

/** How many lanes a group has. */
export const LANES = 64

/** Every lane, as a set. */
export const ALL_LANES = 2n ** 64n - 1n

/**
 * The lane of a message, 0 to 63: by its key, so that a key has one; without a key by its id. The same as `lane_of` in SQL.
 */
export function laneOf(key: string | null | undefined, id: string): number {
  return (
    createHash('sha256')
      .update(key ?? id, 'utf8')
      .digest()[0]! % LANES
  )
}

/** A set of lanes, a bit for each. */
export function laneSet(lanes: Iterable<number>): bigint {
  let set = 0n
  for (const lane of lanes) set |= 1n << BigInt(lane)
  return set
}

/** The lanes of a set, ascending. */
export function lanesIn(set: bigint): number[] {
  return Array.from({ length: LANES }, (_, lane) => lane).filter((lane) => hasLane(set, lane))
}

export function hasLane(set: bigint, lane: number): boolean {
  return ((set >> BigInt(lane)) & 1n) === 1n
}

/** A set as Postgres keeps it, in a signed number of 64 bits. */
export function storedLanes(set: bigint): string {
  return BigInt.asIntN(64, set).toString()
}

export function readLanes(stored: string | number | bigint | null): bigint {
  return BigInt.asUintN(64, BigInt(stored ?? 0))
}

/**
 * The lanes of one of several processes that share a group: each lane has exactly one of them, and the numbers of lanes differ by
 * one at most. They agree without speaking to each other, as all of them see the same members.
 */
export function shareOf(member: number, members: readonly number[]): bigint {
  const sorted = [...new Set([...members, member])].sort((a, b) => a - b)
  return dealtLanes(ALL_LANES, sorted.length)[sorted.indexOf(member)] ?? 0n
}

/** Lanes dealt out to at most `hands`, as evenly as may be; none is empty. Those of a hand lie together: they are few locks. */
export function dealtLanes(set: bigint, hands: number): bigint[] {
  const lanes = lanesIn(set)
  const most = Math.min(hands, lanes.length)
  const firstOf = (hand: number) => Math.floor((hand * lanes.length) / most)
  return Array.from({ length: most }, (_, hand) => laneSet(lanes.slice(firstOf(hand), firstOf(hand + 1))))
}
