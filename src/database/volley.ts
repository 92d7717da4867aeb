import type { Row, StatementOptions } from '../database.ts'
import { Parses } from './parses.ts'
import { type PgClient, partsOf, type Wire } from './pool.ts'
import { ownTypes } from './types.ts'

/** A statement whose text never changes, prepared once per connection under its name. */
export interface Prepared {
  readonly name: string
  readonly text: string
  readonly values: readonly unknown[]
}

export interface VolleyAnswer {
  /** What the last statement that returns rows returned. */
  readonly rows: Row[]
  /** How many rows the last statement returned, or changed; null for one that does neither. */
  readonly rowCount: number | null
  /** The command tag of each statement, in order. */
  readonly commands: readonly string[]
}

interface Field {
  readonly name: string
  readonly dataTypeID: number
}

/**
 * Several prepared statements in one round trip: they are sent together with one Sync behind them, so that after the first
 * that fails the server skips the rest. To `pg` it is a query that submits itself, as its cursors are.
 */
export class Volley {
  readonly answer: Promise<VolleyAnswer>
  readonly #client: PgClient
  #statements: readonly Prepared[]
  readonly #asTexts: boolean
  readonly #wire: Wire
  readonly #parses: Parses
  readonly #rows: Row[] = []
  readonly #commands: string[] = []
  #rowCount: number | null = null
  #names: readonly string[] = []
  /** All the names, so that rows are made in one go and alike. */
  #blank: Row = {}
  #parsers: readonly ((text: string) => unknown)[] = []
  readonly #resolve: (answer: VolleyAnswer) => void
  readonly #reject: (error: unknown) => void
  #fault: unknown
  /** Set by a client that limits the time of its queries: called when the answer is there, or that there is none. */
  callback: ((error?: unknown) => void) | undefined

  /** Sends statements through a client that volleys fit. */
  static send(
    client: PgClient,
    statements: readonly Prepared[],
    options?: Pick<StatementOptions, 'asTexts'>,
  ): Promise<VolleyAnswer> {
    const volley = new Volley(client, statements, options)
    void client.query(volley)
    return volley.answer
  }

  /** Can this client send volleys? The JavaScript client of `pg` can, where it does not pipeline by itself. */
  static fits(client: PgClient): boolean {
    const { connection, pipeline, getTypeParser } = partsOf(client)
    const speaks = typeof connection?.bind === 'function' && connection.parsedStatements !== undefined
    return speaks && !pipeline && typeof getTypeParser === 'function'
  }

  constructor(
    client: PgClient,
    statements: readonly Prepared[],
    { asTexts = false }: Pick<StatementOptions, 'asTexts'> = {},
  ) {
    const { promise, resolve, reject } = Promise.withResolvers<VolleyAnswer>()
    this.answer = promise
    this.#resolve = resolve
    this.#reject = reject
    this.#client = client
    this.#statements = statements
    this.#asTexts = asTexts
    this.#wire = partsOf(client).connection as Wire
    this.#parses = new Parses(this.#wire)
  }

  /** Has other statements sent before its own. Called before it is sent. */
  follow(before: readonly Prepared[]): void {
    this.#statements = [...before, ...this.#statements]
  }

  /** Called by pg when it is this query's turn. */
  submit(): Error | null {
    const { stream } = this.#wire
    stream.cork?.()
    try {
      for (const statement of this.#statements) this.#send(statement)
      this.#wire.sync()
    } finally {
      stream.uncork?.()
    }
    return null
  }

  #send(statement: Prepared): void {
    this.#parses.ask(statement)
    this.#wire.bind({ statement: statement.name, values: statement.values.map(wireText) })
    this.#wire.describe({ type: 'P', name: '' })
    this.#wire.execute({ portal: '' })
  }

  handleRowDescription({ fields }: { readonly fields: readonly Field[] }): void {
    if (this.#asTexts) return
    this.#names = fields.map(({ name }) => name)
    this.#blank = Object.fromEntries(this.#names.map((name) => [name, null]))
    const types = ownTypes(partsOf(this.#client))
    this.#parsers = fields.map(({ dataTypeID }) => types.getTypeParser(dataTypeID))
  }

  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    if (this.#asTexts) {
      this.#rows.push(fields)
      return
    }
    try {
      const row: Row = { ...this.#blank }
      for (let i = 0; i < fields.length; i += 1) {
        const text = fields[i]!
        if (text !== null) row[this.#names[i]!] = this.#parsers[i]!(text)
      }
      this.#rows.push(row)
    } catch (error) {
      this.#fault ??= error
    }
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    const end = text.indexOf(' ')
    this.#commands.push(end < 0 ? text : text.slice(0, end))
    const count = Number(text.slice(text.lastIndexOf(' ') + 1))
    this.#rowCount = Number.isNaN(count) ? null : count
  }

  handleError(error: unknown): void {
    this.#parses.end()
    this.#reject(error)
    this.callback?.(error)
  }

  handleReadyForQuery(): void {
    this.#parses.end()
    this.callback?.()
    if (this.#fault === undefined)
      this.#resolve({ rows: this.#rows, rowCount: this.#rowCount, commands: this.#commands })
    else this.#reject(this.#fault)
  }
}

/** Whether a value may travel in a volley: text, numbers, times, and arrays of such. */
export function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || value instanceof Date) return true
  return Array.isArray(value) && value.every((item) => item !== null && typeof item !== 'object')
}

/** A value as Postgres reads it. */
function wireText(value: unknown): string | null {
  if (value === null || value === undefined) return null
  if (value instanceof Date) return value.toISOString()
  if (Array.isArray(value)) return `{${value.map((item) => quoted(String(item))).join(',')}}`
  return String(value)
}

function quoted(item: string): string {
  return /^-?\d+$/.test(item) ? item : `"${item.replace(/["\\]/g, '\\$&')}"`
}
