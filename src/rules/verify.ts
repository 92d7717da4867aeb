import { shape } from './options.ts'

/** What a handler writes of each message it has handled, a JSON object a line. */
export interface HandledRecord {
  readonly group: string
  readonly key: string | null
  readonly messageId: string
  /** The delivery's `position`. */
  readonly position?: string | null | undefined
  /** When; it is told, and not judged. */
  readonly at?: string | null | undefined
}

/** A record, and the line of the file it stands in, 1 for the first. */
export interface HandledLine extends HandledRecord {
  readonly line: number
}

const RECORD = shape((z) =>
  z.object({
    group: z.string().min(1),
    key: z
      .union([z.string(), z.number()])
      .nullish()
      .transform((key) => (key == null ? null : String(key))),
    messageId: z.string().transform((id) => id.toLowerCase()),
    position: z
      .union([z.string(), z.number()])
      .nullish()
      .transform((position) => (position == null ? null : String(position))),
    at: z
      .union([z.string(), z.number()])
      .nullish()
      .transform((at) => (at == null ? null : String(at))),
  }),
)

/**
 * The record of a line; undefined when it is none.
 *
 * ```ts
 * const record = handledRecord('{"group":"fraud","key":"a","messageId":"01a21ca6-1140-7aaf-b98a-8f72baf98f5d"}')
 * if (record === undefined) log.info('not a record')
 * ```
 */
export function handledRecord(text: string): HandledRecord | undefined {
  try {
    return RECORD().safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}

/**
 * What may be wrong with the records of a group.
 *
 * - `missing`: the log has a message that the group has passed, and there is no record of it
 * - `doubled`: there are several records of one message
 * - `out-of-order`: a record stands behind one of a later message of its key
 * - `unknown`: there is a record of what the log does not have for the group
 * - `misplaced`: the record names another position, or another key, than the log has
 */
export type FaultKind = 'missing' | 'doubled' | 'out-of-order' | 'unknown' | 'misplaced'

export const FAULT_KINDS: readonly FaultKind[] = ['missing', 'doubled', 'out-of-order', 'unknown', 'misplaced']

/** One thing that is wrong, and where. */
export interface Fault {
  readonly fault: FaultKind
  readonly group: string
  readonly key: string | null
  readonly messageId: string
  readonly position: string | null
  /** Of the record; null for one that is missing. */
  readonly line: number | null
  readonly reason: string
}

/** A message of the log, as far as it is judged by it. */
export interface LogEntry {
  readonly id: string
  readonly key: string | null
  readonly position: string
}

export interface JudgeOptions {
  /** A message may have come again, after one that it preceded: its first record counts. */
  readonly repeats: boolean
  /** Faults that are kept with their facts; all are counted. */
  readonly most: number
}

/**
 * Compares the records of a group with the log: first all records, in the order of the file, then all messages that the group has
 * passed, in the order of the log. Of a key, records have to stand in the order of the log; between keys no order is promised.
 */
export class Judge {
  readonly faults: Fault[] = []
  readonly counts: Record<FaultKind, number> = { missing: 0, doubled: 0, 'out-of-order': 0, unknown: 0, misplaced: 0 }
  readonly group: string
  readonly #options: JudgeOptions
  readonly #seen = new Map<string, HandledLine[]>()
  readonly #last = new Map<string, HandledLine>()
  #records = 0
  #messages = 0
  #repeated = 0

  constructor(group: string, options: JudgeOptions) {
    this.group = group
    this.#options = options
  }

  get records(): number {
    return this.#records
  }

  /** Messages of the log that were compared. */
  get messages(): number {
    return this.#messages
  }

  /** Records of messages that had one, where that is allowed. */
  get repeated(): number {
    return this.#repeated
  }

  record(line: HandledLine): void {
    this.#records += 1
    const seen = this.#seen.get(line.messageId)
    if (seen) seen.push(line)
    else this.#seen.set(line.messageId, [line])
  }

  /** The next message of the log; `excused` when the group was not to handle it, or need not have. */
  message(entry: LogEntry, excused: boolean): void {
    this.#messages += 1
    const seen = this.#seen.get(entry.id)
    this.#seen.delete(entry.id)
    if (!seen) {
      if (!excused) this.#fault('missing', entry, null, 'the group has passed it, and there is no record of it')
      return
    }
    const [first, ...more] = seen as [HandledLine, ...HandledLine[]]
    this.#placed(entry, first)
    this.#ordered(entry, first)
    if (this.#options.repeats) this.#repeated += more.length
    else for (const line of more) this.#fault('doubled', entry, line, `it was handled in line ${first.line} already`)
  }

  /** A message that is not compared: the group has not passed it yet, or it lies before where the comparison begins. */
  known({ id }: LogEntry): void {
    this.#seen.delete(id)
  }

  /** Whether every record has been compared with its message. */
  get settled(): boolean {
    return this.#seen.size === 0
  }

  /** What is left of the records is not of the log. */
  end(): void {
    for (const lines of this.#seen.values())
      for (const line of lines)
        this.#fault('unknown', entryOf(line), line, 'the log holds no such message for the group')
    this.#seen.clear()
  }

  #placed(entry: LogEntry, line: HandledLine): void {
    if (line.key !== entry.key)
      this.#fault('misplaced', entry, line, `it is of key ${quoted(entry.key)}, not ${quoted(line.key)}`)
    else if (line.position != null && line.position !== entry.position)
      this.#fault('misplaced', entry, line, `it is at position ${entry.position}, not ${line.position}`)
  }

  #ordered(entry: LogEntry, line: HandledLine): void {
    if (entry.key === null) return
    const last = this.#last.get(entry.key)
    this.#last.set(entry.key, line)
    if (last && last.line > line.line)
      this.#fault('out-of-order', entry, line, `the log has it after ${last.messageId}, which is in line ${last.line}`)
  }

  #fault(fault: FaultKind, { id, key, position }: LogEntry, line: HandledLine | null, reason: string): void {
    this.counts[fault] += 1
    if (this.faults.length >= this.#options.most) return
    this.faults.push({ fault, group: this.group, key, messageId: id, position, line: line?.line ?? null, reason })
  }
}

function entryOf({ messageId, key, position }: HandledLine): LogEntry {
  return { id: messageId, key, position: position ?? '' }
}

function quoted(key: string | null): string {
  return key === null ? 'none' : JSON.stringify(key)
}
