import { afterLogged, isLogged, LOGGED_COLUMNS, LoggedRow, streamRow } from './logged-row.ts'
import type { Query } from './queryable.ts'
import { type Position, positionId, type StreamRow } from './streams.ts'
import type { Tables } from './tables.ts'

/** Where a reader without a group is: the two ticks that it stands between, whole, as nothing keeps them for it. */
export interface ReaderPlace {
  /** Null: everything that `b` sees is done. */
  readonly a: string | null
  readonly b: string
  /** Of what lies between them, the ids up to it are done. */
  readonly id: string
  /** From where the log was kept when it looked last. */
  readonly keptFrom: string
}

export interface ReadOn {
  /** The number of the stream; null: everything that the log has. */
  readonly queue: number | null
  readonly place: ReaderPlace
  /** What was published before it is passed over. */
  readonly since: Date | null
  /** Rows of the log that are looked at, at most. */
  readonly limit: number
  /** What comes together holds no more, but for a single message that does. */
  readonly bytes: number
}

/** The place of a position. */
export function readerAt(t: Tables, { base, tick, id }: Position): Query<ReaderPlace> {
  return {
    text: `select * from ${t.of('reader_at')}($1, $2, $3)`,
    values: [base, tick, id],
    decode: (row) => ({ a: row.a, b: row.b, id, keptFrom: String(row.kept_from) }),
  }
}

/** A message, or, last of all, the place after those that came. */
export type ReadRow = { readonly row: StreamRow } | { readonly place: ReaderPlace }

/** What comes next for a reader without a group. */
export function readOn(t: Tables, { queue, place, since, limit, bytes }: ReadOn): Query<ReadRow> {
  return {
    name: 'posthaste.read_on',
    text: `select ${LOGGED_COLUMNS}, a, b, kept_from from ${t.of('read_on')}($1, $2, $3, $4, $5, $6, $7, $8)`,
    values: [queue, place.a, place.b, place.id, place.keptFrom, since, limit, bytes],
    decode: (row) =>
      row.message_id === null
        ? { place: { a: row.a, b: row.b, id: positionId(row.id), keptFrom: String(row.kept_from) } }
        : { row: streamRow(row) },
    decodeTexts: (texts) => {
      if (isLogged(texts)) return { row: new LoggedRow(texts) }
      const { id, others } = afterLogged(texts)
      return { place: { a: others[0] ?? null, b: others[1]!, id, keptFrom: others[2]! } }
    },
  }
}
