import { ask } from '../ask.ts'
import type { Context } from '../context.ts'
import { InvalidOption, NotSupported } from '../errors.ts'
import {
  BEGINNING,
  chunkOf,
  groupPositions,
  type LanesAt,
  latestPosition,
  type Position,
  readStream,
  type StreamRow,
  samePosition,
  WHOLE,
} from '../postgres/streams.ts'
import { putAside, type StoredGroup, storedGroups } from '../postgres/verify.ts'
import { numberOf } from '../queue-number.ts'
import { ALL_LANES } from '../rules/lane.ts'
import { type Parsed, parseOptions, shape, wholeNumber } from '../rules/options.ts'
import { FAULT_KINDS, type Fault, type FaultKind, type HandledLine, Judge } from '../rules/verify.ts'
import { type From, placeOf } from './groups.ts'

/** Which groups are judged, from where on, and what is forgiven. */
export interface VerifyOptions {
  /** The stream, for groups that are deleted, or that several streams have. @default the one that has a group of the record's name */
  readonly stream?: string | undefined
  /** Groups that are judged also when there is no record of theirs. @default those that there are records of */
  readonly groups?: readonly string[] | undefined
  /** From where on the log has to be handled. @default the oldest message, or where the group began that began at a time */
  readonly from?: From | undefined
  /** Whether a message may have several records, as after a crash between a handler's effect and its commit. @default false */
  readonly repeats?: boolean | undefined
  /** How many faults of a group are told with their facts; all are counted. @default 100 */
  readonly most?: number | undefined
}

const OPTIONS = shape((z) =>
  z.strictObject({
    stream: z.string().min(1).optional(),
    from: z.union([z.enum(['earliest', 'latest']), z.date(), z.guid()]).optional(),
    groups: z.array(z.string().min(1)).default([]),
    repeats: z.boolean().default(false),
    most: wholeNumber(1, 100_000).default(100),
  }),
)

/** What the records of a group come to. */
export interface GroupVerdict {
  readonly stream: string
  readonly group: string
  readonly records: number
  /** Messages of the log that the group has passed. */
  readonly messages: number
  /** Records beyond the first of their messages, where that is allowed. */
  readonly repeated: number
  /** Messages that wait in the group, or died in it, and need no record. */
  readonly putAside: number
  readonly counts: Readonly<Record<FaultKind, number>>
  readonly faults: readonly Fault[]
}

/** What records come to: `ok` when no group has a fault. */
export interface Verdict {
  readonly ok: boolean
  readonly groups: readonly GroupVerdict[]
}

/** Rows of the log that one look takes; their payloads come along. */
const LOOK_ROWS = 1_000

interface NamedStream {
  readonly name: string
  readonly queue: number
}

/** A group, as it was before the records were read. */
interface Found {
  readonly of: StoredGroup | undefined
  readonly queue: number
  readonly stream: string
  /** Where the lanes of the group were before the records were read: all before that has its record by now. */
  readonly lanes: readonly LanesAt[]
  readonly excused: ReadonlySet<string>
}

interface Judged extends Found {
  readonly judge: Judge
}

/**
 * Judges what handlers have written down by the log: of each group whether every message that it has passed was handled, once, and those
 * of a key in their order.
 */
export async function verify(
  context: Context,
  records: Iterable<HandledLine> | AsyncIterable<HandledLine>,
  given: VerifyOptions = {},
): Promise<Verdict> {
  const options = parseOptions(OPTIONS, given)
  const bench = await Bench.set(context, options)
  for (const group of options.groups) bench.judgeOf(group)
  for await (const record of records) bench.judgeOf(record.group).record(record)
  const groups: GroupVerdict[] = []
  for (const judged of bench.judged()) groups.push(await compare(context, judged, options.from))
  return { ok: groups.every(({ counts }) => FAULT_KINDS.every((kind) => counts[kind] === 0)), groups }
}

/** Everything that has to be known before the first record is read. */
class Bench {
  readonly #options: Parsed<typeof OPTIONS>
  readonly #known: readonly Found[]
  readonly #stream: NamedStream | undefined
  readonly #judged = new Map<string, Judged>()

  constructor(options: Parsed<typeof OPTIONS>, known: readonly Found[], stream: NamedStream | undefined) {
    this.#options = options
    this.#known = known
    this.#stream = stream
  }

  static async set(context: Context, options: Parsed<typeof OPTIONS>): Promise<Bench> {
    const { stream } = options
    const queue = stream === undefined ? undefined : await numberOf(context, stream)
    const groups = await ask(context, storedGroups(context.tables))
    const known: Found[] = []
    for (const of of groups.filter((group) => queue === undefined || group.queue === queue)) {
      const lanes = await ask(context, groupPositions(context.tables, of.id))
      const excused = new Set((await ask(context, putAside(context.tables, of))).map(({ id }) => id))
      known.push({ of, queue: of.queue, stream: of.stream, lanes, excused })
    }
    return new Bench(options, known, queue === undefined ? undefined : { name: stream!, queue })
  }

  judgeOf(group: string): Judge {
    let judged = this.#judged.get(group)
    if (!judged) {
      const { repeats, most } = this.#options
      judged = { ...this.#find(group), judge: new Judge(group, { repeats, most }) }
      this.#judged.set(group, judged)
    }
    return judged.judge
  }

  judged(): Iterable<Judged> {
    return this.#judged.values()
  }

  #find(group: string): Found {
    const [first, ...others] = this.#known.filter(({ of }) => of!.group === group)
    if (others.length > 0)
      throw new InvalidOption(
        'stream',
        `several have a group "${group}": ${[first!, ...others].map(({ stream }) => stream).join(', ')}`,
      )
    if (first?.lanes.some(({ replay }) => replay !== null))
      throw new NotSupported('verify', `group "${group}" is on a replay`)
    if (first) return first
    if (!this.#stream) throw new InvalidOption('stream', `none has a group "${group}", and the stream is not given`)
    const { name, queue } = this.#stream
    return { of: undefined, queue, stream: name, lanes: [], excused: new Set() }
  }
}

async function compare(context: Context, judged: Judged, from: From | undefined): Promise<GroupVerdict> {
  const { judge, of, stream, excused } = judged
  const begin = from === undefined ? { at: BEGINNING, since: of?.since ?? null } : await placeOf(context, from)
  let putAside = 0
  for await (const row of passed(context, judged, begin)) {
    const isExcused = excused.has(row.messageId)
    if (isExcused) putAside += 1
    judge.message(entryOf(row), isExcused || row.expired)
  }
  if (!judge.settled) {
    const [now] = await ask(context, latestPosition(context.tables))
    for await (const row of log(context, {
      queue: judged.queue,
      lanes: ALL_LANES,
      from: BEGINNING,
      to: now!,
      since: null,
    })) {
      judge.known(entryOf(row))
      if (judge.settled) break
    }
  }
  judge.end()
  const { records, messages, repeated, counts, faults } = judge
  return { stream, group: judge.group, records, messages, repeated, putAside, counts, faults }
}

function entryOf({ messageId, body, message }: StreamRow) {
  return { id: messageId, key: body?.key ?? null, position: message }
}

/** What the group has passed, of each key in its order. */
async function* passed(
  context: Context,
  { queue, of, lanes }: Judged,
  { at, since }: { at: Position; since: Date | null },
): AsyncGenerator<StreamRow> {
  if (!of) {
    const [now] = await ask(context, latestPosition(context.tables))
    yield* log(context, { queue, lanes: ALL_LANES, from: at, to: now!, since })
    return
  }
  // what all lanes have done is read once, the rest for each of their positions
  const common = lanes.map(({ at: { base, tick, id } }) => BigInt(id === WHOLE ? tick : base)).reduce(earlier)
  const done = { base: `${common}`, tick: `${common}`, id: WHOLE }
  const begins = BigInt(at.id === WHOLE ? at.tick : at.base) <= common && at.id === WHOLE
  if (begins) yield* log(context, { queue, lanes: ALL_LANES, from: at, to: done, since })
  for (const each of lanes)
    yield* log(context, { queue, lanes: each.lanes, from: begins ? done : at, to: each.at, since })
}

interface Stretch {
  readonly queue: number
  readonly lanes: bigint
  readonly from: Position
  readonly to: Position
  readonly since: Date | null
}

/** What lies between two positions: first all that the base of the second sees, then what it has of its own. */
async function* log(context: Context, stretch: Stretch): AsyncGenerator<StreamRow> {
  const { to } = stretch
  if (to.id === WHOLE) return yield* upTo(context, stretch, { tick: to.tick })
  const base: Position = { base: to.base, tick: to.base, id: WHOLE }
  yield* upTo(context, { ...stretch, to: base }, { tick: to.base })
  yield* upTo(context, { ...stretch, from: later(stretch.from, base) }, { tick: to.tick, id: to.id })
}

async function* upTo(
  context: Context,
  { queue, lanes, from, since }: Stretch,
  until: { readonly tick: string; readonly id?: string },
): AsyncGenerator<StreamRow> {
  let at = from
  while (BigInt(at.tick) <= BigInt(until.tick)) {
    const { rows, end } = chunkOf(
      await ask(context, readStream(context.tables, { queue, lanes, from: at, limit: LOOK_ROWS, until, since })),
    )
    for (const row of rows) if (until.id === undefined || BigInt(row.message) <= BigInt(until.id)) yield row
    if (
      samePosition(at, end) ||
      (until.id !== undefined && end.tick === until.tick && BigInt(end.id) >= BigInt(until.id))
    )
      return
    at = end
  }
}

function earlier(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

function later(a: Position, b: Position): Position {
  return BigInt(a.tick) > BigInt(b.tick) || (a.tick === b.tick && a.id === WHOLE) ? a : b
}
