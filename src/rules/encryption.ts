import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { InvalidOption, KeyLost } from '../errors.ts'

/** 32 bytes, or their text in base64 or hex. */
export type PayloadKey = Uint8Array | string

/** The keys that payloads are encrypted with, by their ids. */
export interface PayloadKeys {
  /** The id of the key that is used from now on; the others open what was encrypted before. */
  readonly current: string
  /**
   * Each key by its id, or a function that finds one. A function that answers undefined says that the key is gone for good; one
   * that throws is an outage, and the attempt is repeated as any that failed.
   */
  readonly keys:
    | Readonly<Record<string, PayloadKey>>
    | ((id: string) => PayloadKey | undefined | Promise<PayloadKey | undefined>)
}

/** Which parts of a payload are stored encrypted. */
export interface EncryptionOf<In = unknown> {
  /** `customer.email`; `*` is every element of a list or every property: `passengers.*.name`. What is not there is passed over. */
  readonly paths: readonly string[]
  /** The key for a message, such as one per customer, so that deleting it makes all of his unreadable. @default the current one */
  readonly keyId?: ((payload: In) => string) | undefined
}

type MaybePromise<Value> = Value | Promise<Value>

const KEY_BYTES = 32
const IV_BYTES = 12
const TAG_BYTES = 16
const MARK = '$encrypted'
/** What an id of a key looks like. */
export const KEY_ID = /^[\x21-\x7e]{1,100}$/
const BOX = /^[A-Za-z0-9_-]{39,}$/

/** Finds keys by their ids. */
export class Keyring {
  readonly current: string
  readonly #keys: ReadonlyMap<string, Buffer> | undefined
  readonly #find: ((id: string) => MaybePromise<PayloadKey | undefined>) | undefined

  constructor({ current, keys }: PayloadKeys) {
    this.current = checkedKeyId(current, 'payloadKeys.current')
    if (typeof keys === 'function') this.#find = keys
    else
      this.#keys = new Map(
        Object.entries(keys).map(([id, key]) => [checkedKeyId(id, 'payloadKeys.keys'), bytesOf(id, key)]),
      )
    if (this.#keys && !this.#keys.has(current))
      throw new InvalidOption('payloadKeys.current', `there is no key "${current}"`)
  }

  /** The ids that are known without looking. */
  get ids(): readonly string[] {
    return [...(this.#keys?.keys() ?? [])]
  }

  find(id: string): MaybePromise<Buffer | undefined> {
    if (this.#keys) return this.#keys.get(id)
    const found = this.#find!(id)
    return found instanceof Promise ? found.then((key) => keyOf(id, key)) : keyOf(id, found)
  }
}

/** What stands in a payload in place of a value. */
interface Box {
  readonly [MARK]: string
  readonly key: string
}

interface Place {
  readonly holder: Record<string | number, unknown>
  readonly at: string | number
}

/** Encrypts the values at the paths, in place: each becomes `{ "$encrypted": "…", "key": "id" }`. AES-256-GCM, bound to the message type. */
export async function encryptPaths(
  ring: Keyring | undefined,
  {
    type,
    payload,
    paths,
    keyId,
  }: { type: string; payload: unknown; paths: readonly string[]; keyId: string | undefined },
): Promise<void> {
  const places = paths.flatMap((path) => placesOf(payload, path.split('.')))
  if (places.length === 0) return
  const id = keyId ?? ring?.current
  const key = await keyFor(ring, id, 'encrypt', type)
  for (const { holder, at } of places) if (!isBox(holder[at])) holder[at] = boxed(holder[at], { id: id!, key, type })
}

/**
 * The payload as its publisher wrote it. A `KeyLost` for what no key opens; what the caller's own function of keys throws is
 * passed on as it is.
 */
export function decrypted(ring: Keyring | undefined, type: string, payload: unknown): MaybePromise<unknown> {
  const root = { payload }
  const boxes = boxesIn(root, 'payload')
  const waiting: Promise<unknown>[] = []
  for (const place of boxes) {
    const box = place.holder[place.at] as Box
    const key = keyFor(ring, box.key, 'decrypt', type)
    const open = (found: Buffer) => (place.holder[place.at] = unboxed(box, found, type))
    if (key instanceof Promise) waiting.push(key.then(open))
    else open(key)
  }
  return waiting.length === 0 ? root.payload : Promise.all(waiting).then(() => root.payload)
}

/** Whether the JSON text of a payload may hold encrypted values. */
export function mayBeEncrypted(json: string): boolean {
  return json.includes(MARK)
}

/**
 * What an encrypted payload is compared by under its dedupe key, once for each key that is known: the same payload has the same
 * prints, and nobody without a key can guess what it says.
 */
export async function fingerprints(
  ring: Keyring | undefined,
  { type, payload, keyId }: { type: string; payload: unknown; keyId: string | undefined },
): Promise<string[]> {
  const current = keyId ?? ring?.current
  const ids = keyId === undefined ? [current, ...(ring?.ids ?? []).filter((id) => id !== current)] : [keyId]
  const text = canonical(payload)
  return await Promise.all(
    ids.map(async (id) => {
      const key = await keyFor(ring, id, 'encrypt', type)
      return createHmac('sha256', key).update(`${type}\n${text}`).digest('base64url')
    }),
  )
}

/** What is wrong with the paths of a contract, or undefined. */
export function pathsProblem(paths: unknown): string | undefined {
  if (!Array.isArray(paths) || paths.length === 0) return 'its encrypt names no paths'
  const wrong = paths.find((path) => typeof path !== 'string' || path.split('.').some((segment) => segment === ''))
  if (wrong !== undefined) return `its encrypt has a path that is none: ${JSON.stringify(wrong)}`
  const inner = paths.find((path) => paths.some((other) => other !== path && isWithin(path, other)))
  if (inner !== undefined) return `its encrypt names "${inner}" within what is encrypted already`
  return new Set(paths).size < paths.length ? 'its encrypt names a path twice' : undefined
}

function isWithin(path: string, other: string): boolean {
  const [inner, outer] = [path.split('.'), other.split('.')]
  if (inner.length < outer.length) return false
  return outer.every((segment, n) => segment === '*' || inner[n] === '*' || segment === inner[n])
}

function placesOf(payload: unknown, segments: readonly string[]): Place[] {
  let holders: unknown[] = [payload]
  for (const segment of segments.slice(0, -1))
    holders = holders.flatMap((holder) => keysOf(holder, segment).map((at) => (holder as never)[at]))
  return holders.flatMap((holder) =>
    keysOf(holder, segments.at(-1)!).map((at) => ({ holder: holder as Place['holder'], at })),
  )
}

function keysOf(holder: unknown, segment: string): (string | number)[] {
  if (typeof holder !== 'object' || holder === null || isBox(holder)) return []
  if (segment === '*') return Array.isArray(holder) ? [...holder.keys()] : Object.keys(holder)
  return Object.hasOwn(holder, segment) ? [segment] : []
}

function boxesIn(holder: object, at: string | number): Place[] {
  const value = (holder as Place['holder'])[at]
  if (typeof value !== 'object' || value === null) return []
  if (isBox(value)) return [{ holder: holder as Place['holder'], at }]
  return (Array.isArray(value) ? [...value.keys()] : Object.keys(value)).flatMap((inner) => boxesIn(value, inner))
}

function isBox(value: unknown): value is Box {
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== 2) return false
  const { [MARK]: box, key } = value as Partial<Box>
  return typeof box === 'string' && BOX.test(box) && typeof key === 'string' && KEY_ID.test(key)
}

function boxed(value: unknown, { id, key, type }: { id: string; key: Buffer; type: string }): Box {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(type))
  const text = Buffer.concat([cipher.update(JSON.stringify(value), 'utf8'), cipher.final()])
  return { [MARK]: Buffer.concat([iv, text, cipher.getAuthTag()]).toString('base64url'), key: id }
}

function unboxed({ [MARK]: box, key: id }: Box, key: Buffer, type: string): unknown {
  const bytes = Buffer.from(box, 'base64url')
  const [iv, text, tag] = [
    bytes.subarray(0, IV_BYTES),
    bytes.subarray(IV_BYTES, -TAG_BYTES),
    bytes.subarray(-TAG_BYTES),
  ]
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(type)).setAuthTag(tag)
    return JSON.parse(Buffer.concat([decipher.update(text), decipher.final()]).toString('utf8'))
  } catch {
    throw new KeyLost('decrypt', type, id, 'it does not open the payload: another key, or another text')
  }
}

function keyFor(
  ring: Keyring | undefined,
  id: string | undefined,
  verb: 'encrypt' | 'decrypt',
  type: string,
): MaybePromise<Buffer> {
  if (ring === undefined || id === undefined) throw new KeyLost(verb, type, id, 'this process has no payloadKeys')
  const needed = (key: Buffer | undefined) => {
    if (key === undefined) throw new KeyLost(verb, type, id, 'it is not among the payloadKeys')
    return key
  }
  const found = ring.find(id)
  return found instanceof Promise ? found.then(needed) : needed(found)
}

function keyOf(id: string, key: PayloadKey | undefined): Buffer | undefined {
  return key === undefined || key === null ? undefined : bytesOf(id, key)
}

function bytesOf(id: string, key: PayloadKey): Buffer {
  const bytes =
    typeof key === 'string' ? Buffer.from(key, /^[0-9a-f]{64}$/i.test(key) ? 'hex' : 'base64') : Buffer.from(key)
  if (bytes.length === KEY_BYTES) return bytes
  throw new InvalidOption(`payloadKeys.keys.${id}`, 'it is not 32 bytes, or their text in base64 or hex')
}

function checkedKeyId(id: unknown, option: string): string {
  if (typeof id === 'string' && KEY_ID.test(id)) return id
  throw new InvalidOption(option, 'the id of a key is 1 to 100 printable ASCII characters without spaces')
}

/** JSON in one form, whatever the order of names. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const names = Object.keys(value).sort()
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical((value as Record<string, unknown>)[name])}`).join(',')}}`
}
