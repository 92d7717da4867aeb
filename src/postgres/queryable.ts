/** A row as the driver gives it; 64-bit numbers arrive as strings. */
// biome-ignore lint/suspicious/noExplicitAny: a column's type is known to the query that names it, to nothing before it
export type Row = Record<string, any>

export interface StatementOptions {
  /** A name that marks the text as one that never changes, so that a driver may prepare it once per connection. */
  readonly name?: string | undefined
  /** Its rows may be given as they travel: for each an array of the texts of its columns. A driver that cannot gives rows as ever. */
  readonly asTexts?: boolean | undefined
}

/** The columns of a row in their order, as the server writes them. */
export type Texts = readonly (string | null)[]

/** A connection as a statement sees it: one text, its values, the rows. */
export interface Queryable {
  /**
   * Stands for the session, where the connection leads to one server process and no pooler is between: statements with a name are
   * prepared there once and kept.
   */
  readonly session?: object | undefined
  query(text: string, values: readonly unknown[], options?: StatementOptions): Promise<Answer>
}

export interface Answer {
  readonly rows: Row[]
  /** How many rows the statement returned, or changed; known where statements are prepared. */
  readonly rowCount?: number | null
}

/** A statement as a value: it runs in the user's transaction, in ours, or under EXPLAIN in a test. */
export interface Query<Result> {
  readonly text: string
  readonly values: readonly unknown[]
  readonly name?: string | undefined
  readonly decode?: (row: Row) => Result
  /** The same of the texts of the columns, for what is read by the thousand: nothing is made of them before it is asked for. */
  readonly decodeTexts?: (texts: Texts) => Result
}

export async function run<Result>(on: Queryable, query: Query<Result>): Promise<Result[]> {
  const { text, values, name, decode, decodeTexts } = query
  const asTexts = decodeTexts !== undefined
  const { rows } = await on.query(text, values, name === undefined ? undefined : { name, asTexts })
  if (decodeTexts && Array.isArray(rows[0])) return (rows as unknown as Texts[]).map(decodeTexts)
  return decode ? rows.map(decode) : (rows as Result[])
}

/** The last statement of a transaction, together with its COMMIT where the connection can; elsewhere COMMIT follows by itself. */
export async function runLast<Result>(
  on: Queryable & { queryAndCommit?: Queryable['query'] },
  query: Query<Result>,
): Promise<Result[]> {
  const { queryAndCommit } = on
  return await run(queryAndCommit ? { query: queryAndCommit.bind(on) } : on, query)
}
