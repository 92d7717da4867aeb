import { styleText } from 'node:util'
import { eraseProgress } from './progress.ts'

/** What goes into a cell of a table. */
export type Cell = string | number | bigint | boolean | Date | null | undefined

/** Output that is cut off (`posthaste audit | head -1`) is no failure. */
export function surviveClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      process.exit(process.exitCode ?? 0)
    })
  }
}

/** One line, or several, to standard output. */
export function print(text: string): void {
  eraseProgress()
  process.stdout.write(`${text}\n`)
}

/** The one JSON object that a command answers; the shapes of version 1 only ever grow. */
export function printJson(answer: object): void {
  print(jsonLine(answer))
}

export function jsonLine(answer: object): string {
  return JSON.stringify({ version: 1, ...answer })
}

/** Rows under their headings; numbers stand right. An empty table is the sentence given. */
export async function printTable(
  headings: readonly string[],
  rows: readonly (readonly Cell[])[],
  empty: string,
): Promise<void> {
  if (rows.length === 0) return print(dim(empty))
  const { default: Table } = await import('cli-table3')
  const table = new Table({
    head: headings.map((heading) => dim(heading)),
    chars: BORDERLESS,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2, compact: true },
    colAligns: headings.map((_, column) => (rows.every((row) => isNumeric(row[column])) ? 'right' : 'left')),
  })
  table.push(...rows.map((row) => row.map(textOf)))
  print(
    table
      .toString()
      .split('\n')
      .map((line) => line.trimEnd())
      .join('\n'),
  )
}

/** A heading between tables. */
export function printHeading(text: string): void {
  print(`\n${styleText('bold', text, { stream: process.stdout })}`)
}

export function dim(text: string): string {
  return styleText('dim', text, { stream: process.stdout })
}

/** Text from the database, fit for a terminal: what would move its cursor is shown as a box. */
export function harmless(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.replaceAll(/[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, '\u25a1')
}

/** A time span as a person says it. */
export function span(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return ''
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`
  return `${Math.round(ms / 86_400_000)} d`
}

/** At most so many characters, with a sign that there is more. */
export function cut(text: string, characters: number): string {
  return text.length > characters ? `${text.slice(0, characters - 1)}…` : text
}

const BORDERLESS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '',
}

function isNumeric(cell: Cell): boolean {
  return cell === null || cell === undefined || typeof cell === 'number' || typeof cell === 'bigint'
}

function textOf(cell: Cell): string {
  if (cell === null || cell === undefined) return ''
  if (cell instanceof Date) return cell.toISOString()
  return harmless(String(cell))
}
