import { type Place, refuse } from './place.ts'

/** How deep arrays and objects may be nested. */
export const DEPTH = 64

/** What is wrong with a value, and the keys that lead to it, innermost first. */
interface Flaw {
  readonly reason: string
  readonly keys: (string | number)[]
}

/**
 * The JSON text of a value that JSON can carry without loss, or an `InvalidMessage` that names the path of what it cannot.
 *
 * What comes out of `JSON.parse` of the text equals the value, but for properties that are undefined, which are left out, and
 * for −0, which comes back as 0. Instances of classes are refused, also those with a `toJSON`: say yourself what a Date shall be.
 */
export function jsonText(value: unknown, maxBytes: number, place: Place): string {
  const flaw = flawIn(value, maxBytes)
  if (flaw) return refuse(place, flaw.reason, flaw.keys.reverse())

  const text = stringified(value, place)
  if (text.length * 3 > maxBytes) refuseLarger(text, maxBytes, place)

  // JSON.stringify escapes NUL and lone surrogates, so a text without \u holds neither, in no key and no value.
  if (text.includes('\\u')) {
    const bad = badString(value)
    if (bad) return refuse(place, bad.reason, bad.keys.reverse())
  }
  return text
}

/** Bytes in UTF-8, without making them. */
export function bytesOf(text: string): number {
  return Buffer.byteLength(text)
}

function stringified(value: unknown, place: Place): string {
  try {
    return JSON.stringify(value)
  } catch (cause) {
    return refuse({ ...place, cause }, 'cannot be written as JSON')
  }
}

function refuseLarger(text: string, maxBytes: number, place: Place): void {
  const bytes = bytesOf(text)
  if (bytes > maxBytes) refuse(place, `has ${bytes} bytes of JSON, the limit is ${maxBytes}`)
}

// Every value takes a byte of text at least, so a walk that meets more values than bytes are allowed can stop: a small graph
// of shared objects may stand for a huge text.
let valuesLeft = 0
let bytesAllowed = 0

function flawIn(value: unknown, maxBytes: number): Flaw | undefined {
  valuesLeft = maxBytes
  bytesAllowed = maxBytes
  const flaw = flawOf(value, 1)
  return flaw?.reason === TOO_DEEP ? cycleOr(flaw, value) : flaw
}

const TOO_DEEP = `is nested deeper than ${DEPTH} levels`

function flawOf(value: unknown, depth: number): Flaw | undefined {
  switch (typeof value) {
    case 'string':
      return value.length > bytesAllowed ? { reason: `is longer than ${bytesAllowed} bytes`, keys: [] } : undefined
    case 'boolean':
      return undefined
    case 'number':
      return Number.isFinite(value) ? undefined : { reason: `is ${value}, which JSON cannot carry`, keys: [] }
    case 'object':
      if (value === null) return undefined
      if (depth > DEPTH) return { reason: TOO_DEEP, keys: [] }
      return Array.isArray(value) ? flawOfArray(value, depth) : flawOfObject(value, depth)
    case 'bigint':
      return { reason: 'is a BigInt, which JSON cannot carry; pass it as a string', keys: [] }
    default:
      return { reason: `is ${aOrAn(typeof value)}, which JSON cannot carry`, keys: [] }
  }
}

function flawOfArray(array: readonly unknown[], depth: number): Flaw | undefined {
  let index = 0
  try {
    if (!isPlainArray(array)) return { reason: `is ${instanceName(array)}, which JSON cannot carry`, keys: [] }
    for (; index < array.length; index += 1) {
      const item = array[index]
      if (item === undefined) return { reason: 'is undefined, which JSON turns into null in an array', keys: [index] }
      const flaw = flawOf(item, depth + 1)
      if (flaw) return under(flaw, index)
    }
  } catch {
    return { reason: 'cannot be read', keys: [index] }
  }
  valuesLeft -= index
  return valuesLeft < 0 ? tooMany() : undefined
}

function flawOfObject(object: object, depth: number): Flaw | undefined {
  let key: string | undefined
  try {
    if (!isPlainObject(object)) return { reason: `is ${instanceName(object)}, which JSON cannot carry`, keys: [] }
    const keys = Object.keys(object)
    for (key of keys) {
      const child = (object as Record<string, unknown>)[key]
      if (child === undefined) continue
      const flaw = flawOf(child, depth + 1)
      if (flaw) return under(flaw, key)
    }
    if (Object.getOwnPropertySymbols(object).length > 0) {
      return { reason: 'has a symbol as a key, which JSON cannot carry', keys: [] }
    }
    valuesLeft -= keys.length
  } catch {
    return { reason: 'cannot be read', keys: key === undefined ? [] : [key] }
  }
  return valuesLeft < 0 ? tooMany() : undefined
}

function tooMany(): Flaw {
  return { reason: `is larger than ${bytesAllowed} bytes of JSON`, keys: [] }
}

function under(flaw: Flaw, key: string | number): Flaw {
  flaw.keys.push(key)
  return flaw
}

// A prototype without one of its own is Object.prototype, of this realm or another (tests run in one of their own).
function isPlainObject(object: object): boolean {
  const prototype = Object.getPrototypeOf(object)
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null
}

function isPlainArray(array: readonly unknown[]): boolean {
  const prototype = Object.getPrototypeOf(array)
  return prototype === Array.prototype || (prototype !== null && isPlainObject(prototype))
}

function instanceName(value: object): string {
  if (typeof (value as { then?: unknown }).then === 'function') return 'a Promise; await it first'
  if (ArrayBuffer.isView(value)) return 'binary data; pass bytes as body, with a contentType'
  const name: unknown = value.constructor?.name
  return typeof name === 'string' && /^\w{1,60}$/.test(name) ? `an instance of ${name}` : 'an instance of a class'
}

function aOrAn(kind: string): string {
  return kind === 'undefined' ? kind : `a ${kind}`
}

/** Too deep is most often a cycle: then the path is the one that closes it. */
function cycleOr(tooDeep: Flaw, root: unknown): Flaw {
  const above = new Set<unknown>([root])
  const keys: (string | number)[] = []
  let value = root
  for (const key of tooDeep.keys.toReversed()) {
    value = (value as Record<string | number, unknown>)[key]
    keys.unshift(key)
    if (above.has(value)) return { reason: 'is a cycle: it contains itself', keys }
    above.add(value)
  }
  return { reason: TOO_DEEP, keys: [] }
}

function badString(value: unknown): Flaw | undefined {
  if (typeof value === 'string') {
    const reason = stringFlaw(value)
    return reason === undefined ? undefined : { reason, keys: [] }
  }
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, child] of entriesOf(value)) {
    const reason = typeof key === 'string' ? stringFlaw(key) : undefined
    const flaw = reason === undefined ? badString(child) : { reason: `${reason} in its name`, keys: [] }
    if (flaw) return under(flaw, key)
  }
  return undefined
}

/** Postgres stores neither in text nor in jsonb: what is wrong with the characters of a string, or undefined. */
export function stringFlaw(text: string): string | undefined {
  if (text.includes('\0')) return 'holds a NUL character, which Postgres cannot store'
  if (!text.isWellFormed()) return 'holds half of a surrogate pair, which UTF-8 cannot carry'
  return undefined
}

function* entriesOf(value: object): Generator<[string | number, unknown]> {
  if (Array.isArray(value)) yield* value.entries()
  else yield* Object.entries(value)
}
