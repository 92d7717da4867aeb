import { bytesOf, jsonText, stringFlaw } from './json-text.ts'
import { type Place, refuse } from './place.ts'

/** What a message may at most be. */
export interface MessageLimits {
  /** Bytes of a payload as JSON, or of a body. The database has the last word: it holds the limit for every language. @default 1_048_576 */
  readonly payloadBytes: number
}

export const DEFAULT_LIMITS: MessageLimits = Object.freeze({ payloadBytes: 1_048_576 })

export const HEADER_BYTES = 65_536
export const NAME_BYTES = 255
export const KEY_BYTES = 1_024
export const TEN_YEARS_MS = 315_360_000_000
export const LARGEST_VERSION = 32_767
export const LARGEST_PRIORITY = 9

const FIRST_INSTANT = Date.parse('0001-01-02T00:00:00Z')
const LAST_INSTANT = Date.parse('9999-12-31T00:00:00Z')

const PLAIN_NAME = /^[\x20-\x7e]{1,255}$/
const CONTROL = /\p{Cc}/u
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** A name in the form in which it is stored and compared (NFC): 1 to 255 bytes, no control characters. */
export function checkedName(name: unknown, place: Place): string {
  if (typeof name === 'string' && PLAIN_NAME.test(name)) return name
  const problem = nameProblem(name)
  return problem === undefined ? (name as string).normalize('NFC') : refuse(place, problem)
}

/** A name that may be empty: a routing key, or the default exchange. */
export function checkedNameOrEmpty(name: unknown, place: Place): string {
  return name === '' ? name : checkedName(name, place)
}

/** What is wrong with a name, or undefined. */
export function nameProblem(name: unknown): string | undefined {
  if (typeof name !== 'string') return `is ${kindOf(name)}, not a text`
  if (name === '') return 'is empty'
  const flaw = stringFlaw(name)
  if (flaw !== undefined) return flaw
  if (CONTROL.test(name)) return 'holds a control character'
  if (bytesOf(name.normalize('NFC')) > NAME_BYTES) return `has more than ${NAME_BYTES} bytes`
  return undefined
}

export function checkedKey(key: unknown, place: Place): string {
  if (typeof key !== 'string') return refuse(place, `is ${kindOf(key)}, not a text`)
  if (key === '') return refuse(place, 'is empty; leave it out')
  const flaw = stringFlaw(key)
  if (flaw !== undefined) return refuse(place, flaw)
  if (key.length * 3 > KEY_BYTES && bytesOf(key) > KEY_BYTES) return refuse(place, `has more than ${KEY_BYTES} bytes`)
  return key
}

/** A uuid of any version, in lower case as Postgres writes it. */
export function checkedId(id: unknown, place: Place): string {
  if (typeof id !== 'string' || !UUID.test(id)) return refuse(place, 'is not a uuid')
  return id.toLowerCase()
}

export function checkedWhole(value: unknown, [least, most]: readonly [number, number], place: Place): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return value as number
  return refuse(place, `is not a whole number from ${least} to ${most}`)
}

/** Milliseconds from `least` to ten years, rounded to whole ones. */
export function checkedMs(value: unknown, least: number, place: Place): number {
  if (typeof value === 'number' && value >= least && value <= TEN_YEARS_MS) return Math.round(value)
  return refuse(place, `is not a number of milliseconds from ${least} to ten years`)
}

/** An instant that Postgres and JavaScript write alike. */
export function checkedInstant(value: unknown, place: Place): string {
  const ms = value instanceof Date ? value.getTime() : Number.NaN
  if (ms >= FIRST_INSTANT && ms <= LAST_INSTANT) return new Date(ms).toISOString()
  return refuse(place, 'is not a Date from year 1 to 9999')
}

/** The JSON text of headers: an object of JSON values, its names without control characters, 64 KB at most. */
export function headersText(headers: unknown, messageType: string): string {
  const place: Place = { messageType, path: 'headers' }
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) {
    return refuse(place, `is ${kindOf(headers)}, not an object of names and values`)
  }
  const text = jsonText(headers, HEADER_BYTES, place)
  for (const name of Object.keys(headers)) {
    const problem = PLAIN_NAME.test(name) ? undefined : nameProblem(name)
    if (problem !== undefined) return refuse(place, `${problem} in its name`, [name])
  }
  return text
}

/** Bytes as base64, or a refusal. */
export function bodyText(body: unknown, maxBytes: number, place: Place): string {
  if (!(body instanceof Uint8Array)) return refuse(place, `is ${kindOf(body)}, not a Uint8Array`)
  if (body.byteLength > maxBytes) return refuse(place, `has ${body.byteLength} bytes, the limit is ${maxBytes}`)
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('base64')
}

function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value)
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
