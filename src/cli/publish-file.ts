import { createHash, type Hash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { PosthasteError } from '../errors.ts'
import type { RawMessage } from '../index.ts'
import { isConnectionLoss } from '../rules/error-summary.ts'
import { check, prepare } from '../rules/message.ts'
import { DEFAULT_LIMITS, type MessageLimits } from '../rules/validate.ts'
import { Failure, UsageFailure } from './failure.ts'
import { parsedJson } from './json-input.ts'
import type { Opened } from './open.ts'

/** What `--file` publishes, and how. */
export interface PublishFileOptions {
  /** A path, or - for standard input. */
  readonly file: string
  /** What a line does not say. */
  readonly defaults: Partial<RawMessage>
  /** The first line that is published. @default where the last run of the same file ended, or 1 */
  readonly fromLine?: number | undefined
  /** Publishes all of the file, whatever an earlier run has published of it. @default false */
  readonly restart?: boolean | undefined
  /** Goes on after a bad line. @default false */
  readonly skipBad?: boolean | undefined
}

export interface BadLine {
  readonly line: number
  readonly reason: string
}

export interface PublishedFile {
  readonly published: number
  /** Lines whose ids were published before. */
  readonly duplicates: number
  readonly bad: readonly BadLine[]
  /** The line to go on with; null when there is nothing left. */
  readonly next: number | null
  readonly interrupted: boolean
}

const AT_ONCE = 1_000
const LONGEST_LINE = 64 * 1_048_576
const TRIES = 6

/**
 * Publishes a file of messages, one JSON object a line, a thousand per transaction.
 *
 * Nothing is published twice, and nothing left out, however it ends and however often it is run again: each line's id follows
 * from the line's number and from a seed that is written down beside the file (`messages.ndjson.posthaste`) before the first
 * transaction; publishing an id again adds nothing. After each commit the file beside says how far it is, and a hash of the
 * lines so far, so that another file under the same name is not taken for this one. It is removed at the end.
 *
 * A transaction whose answer was lost is repeated, with the same ids.
 */
export async function publishFile(opened: Opened, options: PublishFileOptions): Promise<PublishedFile> {
  const { host, port, database } = opened.target
  const to = `${host}:${port}/${database}/${opened.settings.schema.value}`
  const journal = await Journal.open(options, to)
  return await new FilePublisher(opened, options, journal).run()
}

interface Entry {
  readonly line: number
  readonly message: RawMessage
}

class FilePublisher {
  readonly #opened: Opened
  readonly #options: PublishFileOptions
  readonly #journal: Journal
  readonly #signal: AbortSignal
  readonly #limits: MessageLimits
  readonly #bad: BadLine[] = []
  #published = 0
  #duplicates = 0

  constructor(opened: Opened, options: PublishFileOptions, journal: Journal) {
    this.#opened = opened
    this.#options = options
    this.#journal = journal
    this.#signal = opened.stepwise()
    this.#limits = opened.config.topology?.limits ?? DEFAULT_LIMITS
  }

  async run(): Promise<PublishedFile> {
    const size = await sizeOf(this.#options.file)
    let entries: Entry[] = []
    let at: Line | undefined
    for await (const line of linesOf(this.#options.file, this.#signal)) {
      if (this.#signal.aborted) break
      if (!this.#journal.isNew(line)) continue
      at = line
      const entry = this.#entryOf(line)
      if (entry) entries.push(entry)
      if (this.#stopped) break
      if (entries.length < AT_ONCE) continue
      await this.#commit(entries, line)
      entries = []
      this.#opened.progress({ done: this.#published + this.#duplicates, ...(size && { share: line.bytes / size }) })
      if (this.#stopped) break
    }
    const over = !this.#stopped && !this.#signal.aborted
    if (entries.length > 0 && !this.#signal.aborted) await this.#commit(entries, at!)
    if (over && !this.#stopped) await this.#journal.close()
    return this.#result(over && !this.#stopped)
  }

  /** A bad line was met that is not to be passed over. */
  get #stopped(): boolean {
    return this.#bad.length > 0 && !this.#options.skipBad
  }

  #result(over: boolean): PublishedFile {
    return {
      published: this.#published,
      duplicates: this.#duplicates,
      bad: this.#bad,
      next: over ? null : this.#journal.line + 1,
      interrupted: this.#signal.aborted && !over,
    }
  }

  #entryOf({ number, text }: Line): Entry | undefined {
    try {
      const message = messageOf(text, this.#options.defaults)
      if (message === undefined) return undefined
      check(prepare(message), this.#limits)
      return { line: number, message: { ...message, id: message.id ?? this.#journal.idOf(number) } }
    } catch (error) {
      this.#bad.push({ line: number, reason: reasonOf(error) })
      return undefined
    }
  }

  // What the database refuses is found by halving; what comes before it is published.
  async #commit(entries: readonly Entry[], last: Line): Promise<void> {
    let rest = entries
    while (rest.length > 0) {
      try {
        await this.#publish(rest)
        rest = []
      } catch (error) {
        if (!isRefusal(error)) throw error
        const [refused, reason] = await this.#firstRefused(rest)
        if (refused > 0) await this.#publish(rest.slice(0, refused))
        this.#bad.push({ line: rest[refused]!.line, reason })
        rest = this.#options.skipBad ? rest.slice(refused + 1) : []
      }
    }
    await this.#journal.mark(this.#stopped ? Math.min(...this.#bad.map(({ line }) => line)) - 1 : last.number)
  }

  async #publish(entries: readonly Entry[]): Promise<void> {
    const messages = entries.map(({ message }) => message)
    const { posthaste, transaction } = this.#opened
    const answers = await persistently(() => transaction((tx) => posthaste.publish(tx, messages)))
    const duplicates = answers.filter(({ duplicate }) => duplicate).length
    this.#duplicates += duplicates
    this.#published += answers.length - duplicates
  }

  // From the beginning each time: a message may be refused because of one before it, which has its dedupe key.
  async #firstRefused(entries: readonly Entry[]): Promise<[number, string]> {
    let [low, high, reason] = [0, entries.length - 1, '']
    while (low <= high) {
      const middle = Math.floor((low + high) / 2)
      const refusal = await this.#refusalOf(entries.slice(0, middle + 1))
      if (refusal === undefined) low = middle + 1
      else {
        reason = refusal
        if (low === middle) break
        high = middle
      }
    }
    return [low, reason]
  }

  async #refusalOf(entries: readonly Entry[]): Promise<string | undefined> {
    const { posthaste, transaction } = this.#opened
    const messages = entries.map(({ message }) => message)
    try {
      await persistently(() =>
        transaction(async (tx) => {
          await posthaste.publish(tx, messages)
          throw new OnlyTried()
        }),
      )
    } catch (error) {
      if (error instanceof OnlyTried) return undefined
      if (isRefusal(error)) return reasonOf(error)
      throw error
    }
  }
}

/** Rolls a trial back. */
class OnlyTried extends Error {}

// The ids are fixed: what an unknown COMMIT did publish is not published again.
async function persistently<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work()
    } catch (error) {
      if (tries === TRIES || !isConnectionLoss(error)) throw error
      await sleep(100 * 2 ** tries)
    }
  }
}

function isRefusal(error: unknown): boolean {
  if (isConnectionLoss(error)) return false
  if (error instanceof PosthasteError) return true
  return /^(22|23|PH)/.test(String((error as { code?: unknown }).code))
}

function reasonOf(error: unknown): string {
  const { message } = error as Error
  return message.replace(/^Cannot publish "[^"]*": /, '')
}

function messageOf(bytes: Buffer, defaults: Partial<RawMessage>): RawMessage | undefined {
  if (bytes.length > LONGEST_LINE) throw new UsageFailure(`it is longer than ${LONGEST_LINE / 1_048_576} MB`)
  const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes).trim()
  if (text === '') return undefined
  const said = parsedJson(text)
  if (typeof said !== 'object' || said === null || Array.isArray(said))
    throw new UsageFailure('it is not a JSON object')
  const told = Object.entries(said).filter(([, value]) => value !== null)
  const given: Record<string, unknown> = { ...defaults, ...Object.fromEntries(told) }
  const type = given.type ?? given.routingKey
  if (typeof type !== 'string') throw new UsageFailure('it has neither type nor routingKey')
  if (given.payload === undefined && given.body === undefined) throw new UsageFailure('it has neither payload nor body')
  return { ...given, type, ...instantOf(given.deliverAt), ...bytesOf(given.body) } as unknown as RawMessage
}

function instantOf(given: unknown): { deliverAt?: Date } {
  if (given === undefined) return {}
  const deliverAt = new Date(String(given))
  if (Number.isNaN(deliverAt.getTime())) throw new UsageFailure('deliverAt is no time such as 2026-01-31T12:00Z')
  return { deliverAt }
}

function bytesOf(given: unknown): { body?: Buffer } {
  if (given === undefined) return {}
  if (typeof given !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(given)) throw new UsageFailure('body is not base64')
  return { body: Buffer.from(given, 'base64') }
}

interface Line {
  /** 1 for the first. */
  readonly number: number
  readonly text: Buffer
  /** How many bytes of the file have been read with it. */
  readonly bytes: number
}

async function* linesOf(file: string, signal: AbortSignal): AsyncGenerator<Line> {
  const stream = file === '-' ? process.stdin : createReadStream(file)
  signal.addEventListener('abort', () => stream.destroy())
  let number = 0
  let bytes = 0
  let rest: Buffer[] = []
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      let from = 0
      for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
        const text = Buffer.concat([...rest, chunk.subarray(from, end)])
        rest = []
        bytes += text.length + 1
        from = end + 1
        yield { number: ++number, text, bytes }
      }
      if (from < chunk.length) rest.push(chunk.subarray(from))
    }
  } catch (error) {
    if (signal.aborted) return
    const { code } = error as NodeJS.ErrnoException
    throw code === undefined ? error : new UsageFailure(`Cannot read "${file}": ${code}`, { cause: error })
  }
  if (rest.length > 0) yield { number: ++number, text: Buffer.concat(rest), bytes }
}

async function sizeOf(file: string): Promise<number | undefined> {
  if (file === '-') return undefined
  return await stat(file).then(
    ({ size }) => size || undefined,
    () => undefined,
  )
}

interface Written {
  readonly version: 1
  readonly to: string
  readonly seed: string
  readonly startedAt: number
  /** Everything up to this line is published. */
  readonly line: number
  /** Of the lines up to it. */
  readonly digest: string
}

/** How far the publishing of a file is, beside the file. Standard input has no beside. */
class Journal {
  readonly #path: string | undefined
  readonly #facts: Pick<Written, 'to' | 'seed' | 'startedAt'>
  readonly #before: Pick<Written, 'line' | 'digest'>
  readonly #skipped: number
  readonly #hash: Hash = createHash('sha256')
  readonly #digests: { line: number; hash: Hash }[] = []
  #line: number

  private constructor(path: string | undefined, written: Omit<Written, 'version'>, skipped: number) {
    const { line, digest, ...facts } = written
    this.#path = path
    this.#facts = facts
    this.#before = { line, digest }
    this.#skipped = skipped
    this.#line = Math.max(line, skipped)
  }

  static async open({ file, fromLine, restart }: PublishFileOptions, to: string): Promise<Journal> {
    const anew = { to, seed: randomBytes(16).toString('hex'), startedAt: Date.now(), line: 0, digest: '' }
    const skipped = (fromLine ?? 1) - 1
    if (file === '-') return new Journal(undefined, anew, skipped)
    const path = `${file}.posthaste`
    const found = restart ? undefined : await read(path)
    if (found && found.to !== to) {
      throw new UsageFailure(
        `Cannot go on with "${file}": it was being published to ${found.to}, and this is ${to}; --restart publishes it here from its first line`,
      )
    }
    const journal = new Journal(path, found ?? anew, skipped)
    if (!found) await journal.#write(0, '')
    return journal
  }

  /** Everything up to this line is published, or was to be skipped. */
  get line(): number {
    return this.#line
  }

  /** Whether a line is still to be published. Lines must be asked for in order. */
  isNew({ number, text }: Line): boolean {
    this.#hash.update(text).update('\n')
    if (this.#path !== undefined) this.#digests.push({ line: number, hash: this.#hash.copy() })
    if (this.#digests.length > AT_ONCE * 2) this.#digests.splice(0, AT_ONCE / 2)
    const { line, digest } = this.#before
    if (number === line && this.#hash.copy().digest('hex') !== digest) {
      throw new UsageFailure(
        `Cannot go on: the first ${line} lines are not those that were published; --restart publishes all lines anew`,
      )
    }
    return number > line && number > this.#skipped
  }

  /** A uuidv7 that is the same whenever this line is published, and in the order of lines. */
  idOf(line: number): string {
    const { seed, startedAt } = this.#facts
    const bytes = createHash('sha256').update(`${seed}:${line}`).digest().subarray(0, 16)
    bytes.writeUIntBE(startedAt + Math.floor(line / 4_096), 0, 6)
    bytes.writeUInt16BE(0x7000 | (line % 4_096), 6)
    bytes[8] = (bytes[8]! & 0x3f) | 0x80
    const hex = bytes.toString('hex')
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
  }

  async mark(line: number): Promise<void> {
    this.#line = line
    const digest = this.#digests
      .findLast((each) => each.line === line)
      ?.hash.copy()
      .digest('hex')
    if (this.#path !== undefined && digest !== undefined) await this.#write(line, digest)
  }

  async close(): Promise<void> {
    if (this.#path !== undefined) await rm(this.#path, { force: true })
  }

  async #write(line: number, digest: string): Promise<void> {
    const written: Written = { version: 1, ...this.#facts, line, digest }
    const path = this.#path!
    try {
      await writeFile(`${path}.new`, `${JSON.stringify(written)}\n`)
      await rename(`${path}.new`, path)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      const advice = `give its lines by standard input instead: posthaste publish --file - < …`
      throw new Failure(`Cannot write "${path}", which makes it resumable: ${code}; ${advice}`, { cause: error })
    }
  }
}

async function read(path: string): Promise<Written | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  try {
    const written = JSON.parse(text)
    if (written.version === 1 && typeof written.seed === 'string') return written
  } catch {}
  throw new UsageFailure(`Cannot read "${path}", which says how far an earlier run was: remove it, or give --restart`)
}
