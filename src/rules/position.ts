/** One position for each of the ten priorities, as `ready` stores them: the most urgent comes first. */
export type Positions = readonly string[]

/** All there is lies above it: positions begin at 1. */
export const BOTTOM: Positions = Object.freeze(Array<string>(10).fill('0'))

/** All there is lies below it. */
export const SKY: Positions = Object.freeze(Array<string>(10).fill('9223372036854775807'))

/** Both are written without a sign and without leading zeros. */
export function isAbove(position: string, other: string): boolean {
  return position.length === other.length ? position > other : position.length > other.length
}

/** The lower one in each priority. */
export function lower(positions: Positions, others: Positions): Positions {
  return positions.map((position, priority) => (isAbove(position, others[priority]!) ? others[priority]! : position))
}

/** The higher one in each priority. */
export function higher(positions: Positions, others: Positions): Positions {
  return positions.map((position, priority) => (isAbove(position, others[priority]!) ? position : others[priority]!))
}
