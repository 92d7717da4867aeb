import { InvalidContract, UnknownVersion } from '../errors.ts'
import { LARGEST_VERSION } from './validate.ts'

/**
 * From each earlier version to the next: `{ 1: (v1) => v2, 2: (v2) => v3 }`. They get plain JSON, in the shape their version had.
 * A version below the first one cannot be read any more. Without upcasters every earlier version goes to the schema as it is.
 */
// biome-ignore lint/suspicious/noExplicitAny: an earlier shape has no schema any more; its upcaster says what it expects
export type Upcasters = { readonly [fromVersion: number]: (payload: any) => unknown }

export interface Versioned {
  readonly name: string
  readonly version: number
  readonly upcasters: Upcasters
}

/** The payload in the shape of the contract's version. A newer one, or one below the oldest upcaster, is an `UnknownVersion`. */
export function upcast({ name, version, upcasters }: Versioned, payload: unknown, from: number): unknown {
  if (from === version) return payload
  if (from > version || from < oldestReadable(upcasters)) throw new UnknownVersion(name, from, version)
  let current = payload
  for (let step = from; step < version; step += 1) {
    const next = upcasters[step]
    if (next) current = next(current)
  }
  return current
}

function oldestReadable(upcasters: Upcasters): number {
  const versions = Object.keys(upcasters).map(Number)
  return versions.length === 0 ? 1 : Math.min(...versions)
}

/** Refuses upcasters that leave a gap below the contract's version. */
export function checkUpcasters({ name, version, upcasters }: Versioned): void {
  if (!Number.isInteger(version) || version < 1 || version > LARGEST_VERSION) {
    throw new InvalidContract(name, `its version is not a whole number from 1 to ${LARGEST_VERSION}`)
  }
  const from = Object.keys(upcasters).map(Number)
  const strange = Object.keys(upcasters).find((key) => !/^[1-9]\d*$/.test(key) || Number(key) >= version)
  if (strange !== undefined) {
    throw new InvalidContract(name, `upcaster "${strange}" is not from a version below ${version}`)
  }
  for (let step = Math.min(...from); step < version; step += 1) {
    if (typeof upcasters[step] !== 'function')
      throw new InvalidContract(name, `it has no upcaster from version ${step}`)
  }
}
