import { InvalidMessage } from '../errors.ts'
import { presentable } from './error-summary.ts'

/** A place in a message that is being checked, for the error that may come of it. */
export interface Place {
  readonly messageType: string
  /** `payload`, `headers`, `routingKey` … */
  readonly path: string
  readonly cause?: unknown
}

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/
const KEY_CHARACTERS = 60
const SEGMENTS = 12

/** Throws an `InvalidMessage` for this place, or for what the keys lead to below it. The reason must quote no value. */
export function refuse(
  { messageType, path, cause }: Place,
  reason: string,
  keys: readonly (string | number)[] = [],
): never {
  throw new InvalidMessage(messageType, pathOf(path, keys), reason, cause === undefined ? undefined : { cause })
}

/** `payload.lines[2]["unit price"]`: a path as one would write it. Keys are data too, so they are cut and masked. */
export function pathOf(root: string, keys: readonly (string | number)[]): string {
  const told = keys.slice(0, SEGMENTS).map(segmentOf).join('')
  return keys.length > SEGMENTS ? `${root}${told}…` : root + told
}

function segmentOf(key: string | number): string {
  if (typeof key === 'number') return `[${key}]`
  const name = presentable(key, KEY_CHARACTERS)
  return IDENTIFIER.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`
}
