import { readFileSync } from 'node:fs'

export interface Statement {
  readonly name: string
  readonly text: string
}

/** The statements of a file under bench/plain/, by the names they carry there; each is prepared under its name. */
export function plain(file: string): (name: string) => Statement {
  const sql = readFileSync(new URL(`../plain/${file}.sql`, import.meta.url), 'utf8')
  const sections = sql.split(/^-- name: /m).slice(1)
  const statements = new Map(sections.map((section) => statementOf(section)))
  return (name) => {
    const text = statements.get(name)
    if (text === undefined) throw new Error(`Cannot read "${name}": bench/plain/${file}.sql has no such statement`)
    return { name: `plain_${name}`, text }
  }
}

function statementOf(section: string): [string, string] {
  const end = section.indexOf('\n')
  return [section.slice(0, end).trim(), section.slice(end).trim()]
}
